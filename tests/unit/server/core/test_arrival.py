"""What becomes of a frame that has just come, under each overload policy."""

from __future__ import annotations

import pytest

from reidstream_server.core.effects import Readable
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import Ordering, OverloadPolicy

from .builders import MS, Driver, a_model, a_request, some_limits, some_terms

POLICIES = list(OverloadPolicy)


def a_busy_driver(**limits: int) -> Driver:
    """One frame at a time is staged, and none of the others starts before it is done."""
    return Driver(some_limits(staging_slots=1, **limits), models=[a_model(max_batch=1)])


@pytest.mark.parametrize("policy", POLICIES)
def test_frame_ids_rise(policy: OverloadPolicy) -> None:
    """A frame whose id does not is refused in its place in the order, and changes nothing for those after it."""
    driver = Driver()
    session = driver.open(some_terms(policy=policy))
    for name, frame_id in (("first", 5), ("same", 5), ("lower", 4), ("next", 6)):
        driver.send(session, name, frame_id=frame_id)
    driver.work_off()
    invalid = FaultReason.INVALID_FRAME_ID.value
    assert driver.answered() == [("first", "1"), ("same", invalid), ("lower", invalid), ("next", "1")]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_to_embed_is_answered_at_once(policy: OverloadPolicy) -> None:
    """A frame without crops takes no place in a window, and none in a queue."""
    driver = a_busy_driver()
    session = driver.open(some_terms(policy=policy, ordering=Ordering.AS_COMPLETED, frames=2))
    driver.send(session, "busy")
    driver.send(session, "empty", 0)
    assert driver.answered() == [("empty", "0")]
    assert driver.scheduler.statistics(driver.now).frames == 1


def test_a_refused_frame_has_its_place_in_the_order() -> None:
    """What the transport could not understand is answered like everything else, after what came before it."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "first", frame_id=1)
    fault = FrameFault(reason=FaultReason.TOO_MANY_BOXES, message="too many")
    driver.take(driver.scheduler.frame_refused(session, 2, fault, driver.now))
    driver.take(driver.scheduler.frame_refused(session, 2, fault, driver.now))
    assert driver.answered() == []
    driver.work_off()
    assert driver.answered() == [("first", "1"), (None, "too_many_boxes"), (None, "invalid_frame_id")]


def test_wait_stops_reading_at_the_window() -> None:
    """And reads on when the client has taken an answer, not before."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.WAIT, frames=2))
    driver.send(session, "a")
    assert driver.scheduler.readable(session)
    driver.send(session, "b")
    assert not driver.scheduler.readable(session)
    driver.work_off()
    assert not driver.scheduler.readable(session)
    driver.write(session)
    assert driver.scheduler.readable(session)
    assert driver.seen(Readable) == [Readable(session=session)]


@pytest.mark.parametrize("size", [100, 500])
def test_wait_stops_reading_at_the_windows_bytes(size: int) -> None:
    """When they are used up; a message larger than all of it is taken alone."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.WAIT, window_bytes=100))
    driver.send(session, "large", size=size)
    assert not driver.scheduler.readable(session)
    driver.work_off()
    driver.write(session)
    assert driver.answered() == [("large", "1")]
    assert driver.scheduler.readable(session)


def test_wait_parks_what_the_queue_has_no_room_for() -> None:
    """The session is not read until its frame is let in; nothing is lost."""
    driver = a_busy_driver(queue_boxes=10)
    driver.send(driver.open(some_terms("other")), "held", 5)
    session = driver.open(some_terms(policy=OverloadPolicy.WAIT))
    driver.send(session, "waits", 6)
    assert not driver.scheduler.readable(session)
    assert driver.scheduler.statistics(driver.now).parked_frames == 1
    driver.work_off()
    assert driver.scheduler.readable(session)
    assert Readable(session=session) in driver.effects
    assert driver.answered() == [("held", "5"), ("waits", "6")]


def test_drop_oldest_gives_up_what_has_not_started() -> None:
    """At the window's end the oldest frame that has cost nothing yet makes room; one that is being decoded does not."""
    driver = a_busy_driver()
    session = driver.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=3))
    for name in ("started", "old", "older than new", "new"):
        driver.send(session, name)
    driver.work_off()
    assert driver.answered() == [("started", "1"), ("old", "dropped"), ("older than new", "1"), ("new", "1")]


def test_drop_oldest_gives_up_the_newest_when_all_else_has_started() -> None:
    """It is then itself the oldest that has not."""
    driver = a_busy_driver()
    session = driver.open(some_terms(policy=OverloadPolicy.DROP_OLDEST, frames=1, ordering=Ordering.AS_COMPLETED))
    driver.send(session, "started")
    driver.send(session, "new")
    assert driver.answered() == [("new", "dropped")]
    driver.work_off()
    assert driver.answered()[1:] == [("started", "1")]


def test_drop_oldest_keeps_the_windows_bytes() -> None:
    """As many old frames are given up as the new one's bytes need."""
    driver = a_busy_driver()
    terms = some_terms(policy=OverloadPolicy.DROP_OLDEST, window_bytes=100, ordering=Ordering.AS_COMPLETED)
    session = driver.open(terms)
    for name, size in (("started", 30), ("a", 30), ("b", 40)):
        driver.send(session, name, size=size)
    assert driver.answered() == []
    driver.send(session, "new", size=60)
    assert driver.answered() == [("a", "dropped"), ("b", "dropped")]


def test_drop_oldest_makes_room_in_the_queue() -> None:
    """A camera gives up its own older frames for a newer one, never those of others."""
    driver = a_busy_driver(queue_boxes=12)
    other = driver.open(some_terms("other"))
    session = driver.open(some_terms("mine", policy=OverloadPolicy.DROP_OLDEST))
    driver.send(other, "started", 4)
    driver.send(session, "old", 4)
    driver.send(session, "new", 4)
    driver.work_off()
    assert sorted(driver.answered()) == [("new", "4"), ("old", "dropped"), ("started", "4")]


def test_drop_oldest_waits_with_its_newest_frame() -> None:
    """What waits for room is replaced by what is newer; the session is read on."""
    driver = a_busy_driver(queue_boxes=10)
    other = driver.open(some_terms("other"))
    driver.send(other, "full", 10)
    session = driver.open(some_terms("mine", policy=OverloadPolicy.DROP_OLDEST))
    for name in ("a", "b", "c"):
        driver.send(session, name, 2)
        assert driver.scheduler.readable(session)
    assert driver.answered() == [("a", "dropped"), ("b", "dropped")]
    driver.work_off()
    assert driver.answered()[2:] == [("full", "10"), ("c", "2")]


def test_drop_oldest_keeps_its_place_among_those_that_wait() -> None:
    """Whether the window or the queue made it give a frame up: being fresh does not mean being last."""
    driver = a_busy_driver(queue_boxes=10)
    driver.send(driver.open(some_terms("other")), "full", 10)
    fresh = driver.open(some_terms("fresh", policy=OverloadPolicy.DROP_OLDEST, frames=1))
    driver.send(fresh, "old", 10)
    driver.send(driver.open(some_terms("patient")), "patient", 10)
    driver.send(fresh, "new", 10)
    driver.work_off()
    assert driver.answered() == [("old", "dropped"), ("full", "10"), ("new", "10"), ("patient", "10")]


def test_reject_answers_the_newest() -> None:
    """At the window's end, with a time to come back; what came before is untouched, and a place given back is free."""
    driver = a_busy_driver()
    session = driver.open(some_terms(policy=OverloadPolicy.REJECT, frames=2, ordering=Ordering.AS_COMPLETED))
    for name in ("a", "b", "c", "d"):
        driver.send(session, name)
    assert driver.answered() == [("c", "window_full"), ("d", "window_full")]
    assert all(answer.fault and answer.fault.retry_after_ms == 10 for answer in driver.answers)
    driver.work_off()
    assert driver.answered()[2:] == [("a", "1"), ("b", "1")]
    driver.write(session)
    driver.send(session, "still in the window")
    for _ in range(2):
        driver.write(session)
    driver.send(session, "e")
    driver.work_off()
    assert driver.answered()[4:] == [("still in the window", "window_full"), ("e", "1")]


def test_reject_answers_what_the_queue_has_no_room_for() -> None:
    """Another client's boxes may be what fills it. The time to come back is what these take at the present rate."""
    driver = a_busy_driver(queue_boxes=10)
    other = driver.open(some_terms("other"))
    for _ in range(2):
        driver.send(other, "some", 10)
        driver.stage("some")
        while driver.running:
            driver.now += 90 * MS
            driver.finish()
        driver.write(other)
    driver.answers.clear()
    driver.send(other, "full", 10)
    session = driver.open(some_terms("mine", policy=OverloadPolicy.REJECT))
    driver.send(session, "a")
    assert driver.answered() == [("a", "queue_full")]
    (rejected,) = driver.answers
    assert rejected.fault is not None
    assert rejected.fault.retry_after_ms == pytest.approx(10 * 90, rel=0.3)


def test_a_session_that_never_waits_is_not_read_for_ever() -> None:
    """Four windows of answers may wait for a client that does not take them."""
    driver = Driver()
    session = driver.open(some_terms(policy=OverloadPolicy.REJECT, frames=2))
    sent = 0
    while driver.scheduler.readable(session):
        sent += 1
        driver.send(session, f"{sent}")
    assert sent == 8
    driver.work_off()
    driver.write(session)
    assert driver.scheduler.readable(session)


def test_what_is_too_old_costs_nothing() -> None:
    """A frame that has used its budget up on its way is answered without a decode."""
    driver = Driver()
    session = driver.open(some_terms(budget_ns=10 * MS))
    driver.send(session, "fresh", frame_id=1)
    driver.take(driver.scheduler.frame_arrived(session, a_request(2, age_ns=10 * MS), "old", driver.now))
    assert set(driver.staging) == {"fresh"}
    driver.work_off()
    assert driver.answered() == [("fresh", "1"), ("old", "over_budget")]
