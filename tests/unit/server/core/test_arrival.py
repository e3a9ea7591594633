"""What becomes of a frame that has just come, under each overload policy."""

from __future__ import annotations

import pytest

from reidstream_server.core.effects import Readable
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import ModelTerms, Ordering, OverloadPolicy

from .builders import MS, Bench, a_request, some_limits, some_terms

POLICIES = list(OverloadPolicy)


def a_busy_bench(**limits: int) -> Bench:
    """One frame at a time is staged, and none of the others starts before it is done."""
    return Bench(
        some_limits(models=(ModelTerms(name="osnet", max_batch=1, slots=1, cores=1),), staging_slots=1, **limits)
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_frame_ids_rise(policy: OverloadPolicy) -> None:
    """A frame whose id does not is refused in its place in the order, and changes nothing for those after it."""
    bench = Bench()
    session = bench.open(some_terms(policy=policy))
    for name, frame_id in (("first", 5), ("same", 5), ("lower", 4), ("next", 6)):
        bench.send(session, name, frame_id=frame_id)
    bench.work_off()
    invalid = FaultReason.INVALID_FRAME_ID.value
    assert bench.answered() == [("first", "1"), ("same", invalid), ("lower", invalid), ("next", "1")]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_to_embed_is_answered_at_once(policy: OverloadPolicy) -> None:
    """A frame without crops takes no place in a window, and none in a queue."""
    bench = a_busy_bench()
    session = bench.open(some_terms(policy=policy, ordering=Ordering.AS_COMPLETED, frames=2))
    bench.send(session, "busy")
    bench.send(session, "empty", 0)
    assert bench.answered() == [("empty", "0")]
    assert bench.scheduler.statistics(bench.now).frames == 1


def test_a_refused_frame_has_its_place_in_the_order() -> None:
    """What the transport could not understand is answered like everything else, after what came before it."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "first", frame_id=1)
    fault = FrameFault(reason=FaultReason.TOO_MANY_BOXES, message="too many")
    bench.take(bench.scheduler.frame_refused(session, 2, fault, bench.now))
    bench.take(bench.scheduler.frame_refused(session, 2, fault, bench.now))
    assert bench.answered() == []
    bench.work_off()
    assert bench.answered() == [("first", "1"), (None, "too_many_boxes"), (None, "invalid_frame_id")]


def test_wait_stops_reading_at_the_window() -> None:
    """And reads on when the client has taken an answer, not before."""
    bench = Bench()
    session = bench.open(some_terms(policy=OverloadPolicy.WAIT, frames=2))
    bench.send(session, "a")
    assert bench.scheduler.readable(session)
    bench.send(session, "b")
    assert not bench.scheduler.readable(session)
    bench.work_off()
    assert not bench.scheduler.readable(session)
    bench.write(session)
    assert bench.scheduler.readable(session)
    assert bench.seen(Readable) == [Readable(session=session)]


@pytest.mark.parametrize("size", [100, 500])
def test_wait_stops_reading_at_the_windows_bytes(size: int) -> None:
    """When they are used up; a message larger than all of it is taken alone."""
    bench = Bench()
    session = bench.open(some_terms(policy=OverloadPolicy.WAIT, window_bytes=100))
    bench.send(session, "large", size=size)
    assert not bench.scheduler.readable(session)
    bench.work_off()
    bench.write(session)
    assert bench.answered() == [("large", "1")]
    assert bench.scheduler.readable(session)


def test_wait_parks_what_the_queue_has_no_room_for() -> None:
    """The session is not read until its frame is let in; nothing is lost."""
    bench = a_busy_bench(queue_boxes=10)
    bench.send(bench.open(some_terms("other")), "held", 5)
    session = bench.open(some_terms(policy=OverloadPolicy.WAIT))
    bench.send(session, "waits", 6)
    assert not bench.scheduler.readable(session)
    assert bench.scheduler.statistics(bench.now).parked_frames == 1
    bench.work_off()
    assert bench.scheduler.readable(session)
    assert Readable(session=session) in bench.effects
    assert bench.answered() == [("held", "5"), ("waits", "6")]


def test_drop_oldest_gives_up_what_has_not_started() -> None:
    """At the window's end the oldest frame that has cost nothing yet makes room; one that is being decoded does not."""
    bench = a_busy_bench()
    session = bench.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=3))
    for name in ("started", "old", "older than new", "new"):
        bench.send(session, name)
    bench.work_off()
    assert bench.answered() == [("started", "1"), ("old", "dropped"), ("older than new", "1"), ("new", "1")]


def test_drop_oldest_gives_up_the_newest_when_all_else_has_started() -> None:
    """It is then itself the oldest that has not."""
    bench = a_busy_bench()
    session = bench.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=1, ordering=Ordering.AS_COMPLETED))
    bench.send(session, "started")
    bench.send(session, "new")
    assert bench.answered() == [("new", "dropped")]
    bench.work_off()
    assert bench.answered()[1:] == [("started", "1")]


def test_drop_oldest_keeps_the_windows_bytes() -> None:
    """As many old frames are given up as the new one's bytes need."""
    bench = a_busy_bench()
    terms = some_terms(policy=OverloadPolicy.DROP_OLDEST, window_bytes=100, ordering=Ordering.AS_COMPLETED)
    session = bench.open(terms)
    for name, size in (("started", 30), ("a", 30), ("b", 40)):
        bench.send(session, name, size=size)
    assert bench.answered() == []
    bench.send(session, "new", size=60)
    assert bench.answered() == [("a", "dropped"), ("b", "dropped")]


def test_drop_oldest_makes_room_in_the_queue() -> None:
    """A camera gives up its own older frames for a newer one, never those of others."""
    bench = a_busy_bench(queue_boxes=12)
    other, session = bench.open(some_terms("other")), bench.open(some_terms("mine", policy=OverloadPolicy.DROP_OLDEST))
    bench.send(other, "started", 4)
    bench.send(session, "old", 4)
    bench.send(session, "new", 4)
    bench.work_off()
    assert sorted(bench.answered()) == [("new", "4"), ("old", "dropped"), ("started", "4")]


def test_drop_oldest_waits_with_its_newest_frame() -> None:
    """What waits for room is replaced by what is newer; the session is read on."""
    bench = a_busy_bench(queue_boxes=10)
    other = bench.open(some_terms("other"))
    bench.send(other, "full", 10)
    session = bench.open(some_terms("mine", policy=OverloadPolicy.DROP_OLDEST))
    for name in ("a", "b", "c"):
        bench.send(session, name, 2)
        assert bench.scheduler.readable(session)
    assert bench.answered() == [("a", "dropped"), ("b", "dropped")]
    bench.work_off()
    assert bench.answered()[2:] == [("full", "10"), ("c", "2")]


def test_drop_oldest_keeps_its_place_among_those_that_wait() -> None:
    """Whether the window or the queue made it give a frame up: being fresh does not mean being last."""
    bench = a_busy_bench(queue_boxes=10)
    bench.send(bench.open(some_terms("other")), "full", 10)
    fresh = bench.open(some_terms("fresh", policy=OverloadPolicy.DROP_OLDEST, frames=1))
    bench.send(fresh, "old", 10)
    bench.send(bench.open(some_terms("patient")), "patient", 10)
    bench.send(fresh, "new", 10)
    bench.work_off()
    assert bench.answered() == [("old", "dropped"), ("full", "10"), ("new", "10"), ("patient", "10")]


def test_reject_answers_the_newest() -> None:
    """At the window's end, with a time to come back; what came before is untouched, and a place given back is free."""
    bench = a_busy_bench()
    session = bench.open(some_terms(policy=OverloadPolicy.REJECT, frames=2, ordering=Ordering.AS_COMPLETED))
    for name in ("a", "b", "c", "d"):
        bench.send(session, name)
    assert bench.answered() == [("c", "window_full"), ("d", "window_full")]
    assert all(answer.fault and answer.fault.retry_after_ms == 10 for answer in bench.answers)
    bench.work_off()
    assert bench.answered()[2:] == [("a", "1"), ("b", "1")]
    bench.write(session)
    bench.send(session, "still in the window")
    for _ in range(2):
        bench.write(session)
    bench.send(session, "e")
    bench.work_off()
    assert bench.answered()[4:] == [("still in the window", "window_full"), ("e", "1")]


def test_reject_answers_what_the_queue_has_no_room_for() -> None:
    """Another client's boxes may be what fills it. The time to come back is what these take at the present rate."""
    bench = a_busy_bench(queue_boxes=10)
    other = bench.open(some_terms("other"))
    for _ in range(2):
        bench.send(other, "some", 10)
        bench.stage("some")
        while bench.running:
            bench.now += 90 * MS
            bench.finish()
        bench.write(other)
    bench.answers.clear()
    bench.send(other, "full", 10)
    session = bench.open(some_terms("mine", policy=OverloadPolicy.REJECT))
    bench.send(session, "a")
    assert bench.answered() == [("a", "queue_full")]
    (rejected,) = bench.answers
    assert rejected.fault is not None
    assert rejected.fault.retry_after_ms == pytest.approx(10 * 90, rel=0.3)


def test_a_session_that_never_waits_is_not_read_for_ever() -> None:
    """Four windows of answers may wait for a client that does not take them."""
    bench = Bench()
    session = bench.open(some_terms(policy=OverloadPolicy.REJECT, frames=2))
    sent = 0
    while bench.scheduler.readable(session):
        sent += 1
        bench.send(session, f"{sent}")
    assert sent == 8
    bench.work_off()
    bench.write(session)
    assert bench.scheduler.readable(session)


def test_what_is_too_old_costs_nothing() -> None:
    """A frame that has used its budget up on its way is answered without a decode."""
    bench = Bench()
    session = bench.open(some_terms(budget_ns=10 * MS))
    bench.send(session, "fresh", frame_id=1)
    bench.take(bench.scheduler.frame_arrived(session, a_request(2, age_ns=10 * MS), "old", bench.now))
    assert set(bench.staging) == {"fresh"}
    bench.work_off()
    assert bench.answered() == [("fresh", "1"), ("old", "over_budget")]
