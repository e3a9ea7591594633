"""Frames from their arrival to their answer, and everything that can come between."""

from __future__ import annotations

import gc
import weakref

import pytest

from reidstream_server.core.effects import Answer, BatchFailed, End, EndCause, EngineDied, Release, Run, SendDrain
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.terms import (
    BatchKey,
    DrainReason,
    FrameKey,
    ModelTerms,
    Ordering,
    OverloadPolicy,
    SessionKey,
)

from .builders import MS, ONLY, OTHER, START_NS, Bench, a_request, some_limits, some_terms

BROKEN = FrameFault(reason=FaultReason.INVALID_IMAGE, message="not an image")
TWO_MODELS = (
    ModelTerms(name="osnet", max_batch=4, slots=1, cores=1),
    ModelTerms(name="vehicles", max_batch=4, slots=1, cores=1),
)


def assert_empty(bench: Bench) -> None:
    """Nothing is held any more."""
    statistics = bench.scheduler.statistics(bench.now)
    assert (statistics.frames, statistics.queue_boxes, statistics.queue_bytes, statistics.staged_bytes) == (0, 0, 0, 0)
    assert (statistics.staging_frames, statistics.parked_frames, statistics.oldest_waiting_s) == (0, 0, 0.0)
    assert all((model.ready_crops, model.running_batches) == (0, 0) for model in statistics.models)


def test_a_frame_goes_its_way() -> None:
    """Staged, run in as many batches as it takes, released, answered with the times of all of it."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a", 6)
    bench.now += MS
    bench.stage("a")
    bench.now += MS
    bench.finish()
    assert bench.released == []
    bench.finish()
    assert bench.released == ["a"]
    (answer,) = bench.answers
    assert answer.outcomes == (CropOutcome.EMBEDDED,) * 6
    times = answer.times
    assert (times.arrived_ns, times.staging_ns, times.decoded_ns) == (START_NS, START_NS, START_NS + MS)
    assert (times.first_batch_ns, times.last_batch_ns) == (START_NS + MS, START_NS + 2 * MS)
    assert times.batch_sizes == (4, 2)
    bench.write(session)
    assert_empty(bench)


def test_a_frame_may_use_several_models() -> None:
    """It is staged once, each crop goes to its own model, and the answer waits for both."""
    bench = Bench(some_limits(models=TWO_MODELS))
    session = bench.open(some_terms())
    request = a_request(1, 5, models=(ONLY, OTHER))
    bench.take(bench.scheduler.frame_arrived(session, request, "a", bench.now))
    bench.stage("a")
    assert [(run.model, tuple(ref.index for ref in run.crops)) for run in bench.running] == [
        (0, (0, 2, 4)),
        (1, (1, 3)),
    ]
    bench.finish()
    assert bench.answers == []
    bench.finish()
    assert bench.answered() == [("a", "5")]


def test_staging_goes_on_while_engines_run() -> None:
    """As soon as a batch has left, the next frames are staged, so that no engine waits for a decoder."""
    bench = Bench(some_limits(models=(ModelTerms(name="osnet", max_batch=4, slots=1, cores=1),), staging_slots=1))
    session = bench.open(some_terms())
    for name in ("a", "b", "c"):
        bench.send(session, name, 4)
    bench.stage("a")
    assert (len(bench.running), set(bench.staging)) == (1, {"b"})
    bench.stage("b")
    assert set(bench.staging) == set(), "the batch after the running one is ready: fresher frames may still come"
    bench.finish()
    assert set(bench.staging) == {"c"}


def test_on_one_core_a_staged_frame_is_embedded_before_the_next_is_decoded() -> None:
    """Work that is begun is finished first: otherwise every frame waits for the decoding of those behind it."""
    bench = Bench(some_limits(models=(ModelTerms(name="osnet", max_batch=4, slots=2, cores=1),), cores=1))
    session = bench.open(some_terms())
    for name in ("a", "b"):
        bench.send(session, name, 6)
    assert set(bench.staging) == {"a"}
    bench.stage("a")
    assert ([len(run.crops) for run in bench.running], set(bench.staging)) == ([4], set())
    bench.finish()
    assert ([len(run.crops) for run in bench.running], set(bench.staging)) == ([2], set())
    bench.finish()
    assert set(bench.staging) == {"b"}


def test_on_one_core_models_take_turns() -> None:
    """A model whose crops never end does not keep another from its own."""
    bench = Bench(some_limits(models=TWO_MODELS, cores=1))
    session = bench.open(some_terms())
    request = a_request(1, 24, models=(ONLY, OTHER))
    bench.take(bench.scheduler.frame_arrived(session, request, "a", bench.now))
    bench.stage("a")
    turns = []
    while bench.running:
        turns.append(bench.running[0].model)
        bench.finish()
    assert turns == [0, 1, 0, 1, 0, 1]


def test_a_batch_on_a_device_takes_no_core() -> None:
    """Staging goes on beside it."""
    bench = Bench(some_limits(models=(ModelTerms(name="osnet", max_batch=4, slots=1, cores=0),), cores=1))
    session = bench.open(some_terms())
    for name in ("a", "b"):
        bench.send(session, name, 4)
    bench.stage("a")
    assert (len(bench.running), set(bench.staging)) == (1, {"b"})


def test_an_idle_engine_does_not_make_others_decode_ahead() -> None:
    """A frame is staged when its own engine needs it: what waits undecided can still be dropped, or overtaken."""
    bench = Bench(some_limits(models=TWO_MODELS, staging_slots=8))
    session = bench.open(some_terms())
    for name in ("a", "b", "c"):
        bench.send(session, name, 4)
    assert set(bench.staging) == {"a"}
    request = a_request(9, 4, models=(OTHER,))
    bench.take(bench.scheduler.frame_arrived(bench.open(some_terms("other")), request, "other", bench.now))
    assert set(bench.staging) == {"a", "other"}


def test_staged_bytes_are_bounded() -> None:
    """The next frame is staged when an earlier one was released, and how long it has waited for that can be seen."""
    bench = Bench(some_limits(staged_bytes=150))
    session = bench.open(some_terms())
    for name in ("a", "b"):
        bench.send(session, name, size=100)
    assert set(bench.staging) == {"a"}
    bench.now += 30 * MS
    assert bench.scheduler.statistics(bench.now).oldest_waiting_s == 0.03
    bench.stage("a")
    bench.finish()
    assert (bench.released, set(bench.staging)) == (["a"], {"b"})


def test_a_frame_that_cannot_be_staged_fails_alone() -> None:
    """It is answered so, what is left of it is let go, and the next one is staged."""
    bench = Bench(some_limits(staging_slots=1))
    session = bench.open(some_terms())
    bench.send(session, "bad")
    bench.send(session, "good")
    bench.take(bench.scheduler.frame_staging_failed(bench.staging.pop("bad"), BROKEN, bench.now))
    bench.work_off()
    assert bench.answered() == [("bad", "invalid_image"), ("good", "1")]
    assert bench.released == ["bad", "good"]
    assert_empty(bench)


def test_crops_that_cannot_be_decoded_fail_alone() -> None:
    """Also if these are all that the frame has."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "some", 3)
    bench.send(session, "all", 2)
    bench.stage("some", invalid=(1,))
    bench.stage("all", invalid=(0, 1))
    bench.work_off()
    embedded, invalid = CropOutcome.EMBEDDED, CropOutcome.INVALID_IMAGE
    assert [answer.outcomes for answer in bench.answers] == [(embedded, invalid, embedded), (invalid, invalid)]
    assert bench.released == ["all", "some"]
    assert_empty(bench)


def test_a_failed_batch_is_tried_crop_by_crop() -> None:
    """Only the crop that fails alone is given up; a batch of one is not tried again."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a", 3)
    bench.stage("a")
    bench.fail()
    assert [len(run.crops) for run in bench.running] == [1, 1]
    bench.fail()
    bench.work_off()
    (answer,) = bench.answers
    assert answer.outcomes == (CropOutcome.FAILED, CropOutcome.EMBEDDED, CropOutcome.EMBEDDED)
    assert bench.seen(BatchFailed) == [
        BatchFailed(model=ONLY, size=3, message="raised", retried=True),
        BatchFailed(model=ONLY, size=1, message="raised", retried=False),
    ]
    assert_empty(bench)


def test_a_lost_engine_answers_whoever_needs_it() -> None:
    """Now and from now on; frames of other models go on, and pixels are given back when its batch is."""
    bench = Bench(some_limits(models=TWO_MODELS))
    session = bench.open(some_terms(ordering=Ordering.AS_COMPLETED))
    for name, models, frame_id in (("a", (ONLY,), 1), ("b", (OTHER,), 2)):
        request = a_request(frame_id, 2, models=models)
        bench.take(bench.scheduler.frame_arrived(session, request, name, bench.now))
    bench.stage("a")
    bench.stage("b")
    lost = bench.running.pop(0)
    bench.take(bench.scheduler.engine_lost(ONLY, "sticky", bench.now))
    bench.take(bench.scheduler.engine_lost(ONLY, "sticky", bench.now))
    assert (bench.answered(), bench.released) == ([("a", "engine_lost")], [])
    bench.send(session, "c", frame_id=3)
    bench.take(bench.scheduler.batch_failed(ONLY, lost.batch, "sticky", bench.now))
    bench.work_off()
    assert bench.answered() == [("a", "engine_lost"), ("c", "engine_lost"), ("b", "2")]
    faults = [item.fault.message for item in bench.effects if isinstance(item, Answer) and item.fault is not None]
    assert faults == ["the engine of model 'osnet' cannot go on (sticky); send the frame elsewhere"] * 2
    assert bench.seen(EngineDied) == [EngineDied(model=ONLY, message="sticky")]
    assert sorted(bench.released) == ["a", "b", "c"]
    assert_empty(bench)


def test_a_batch_that_does_not_come_back_loses_its_engine() -> None:
    """After the batch timeout, and its late return is taken for what it is."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a")
    bench.stage("a")
    bench.wait(1_000 * MS - 1)
    assert bench.seen(EngineDied) == []
    bench.wait(1)
    assert bench.answered() == [("a", "engine_lost")]
    bench.finish()
    assert bench.released == ["a"]
    bench.write(session)
    assert_empty(bench)


@pytest.mark.parametrize("stage_first", [False, True])
def test_a_frame_over_its_budget_is_answered_then(*, stage_first: bool) -> None:
    """When its time has come, staged or not; its pixels come back, and nothing of it runs."""
    bench = Bench(some_limits(models=(ModelTerms(name="osnet", max_batch=1, slots=1, cores=1),)))
    bench.send(bench.open(some_terms("other")), "busy")
    bench.stage("busy")
    session = bench.open(some_terms(budget_ns=10 * MS))
    bench.send(session, "late")
    if stage_first:
        bench.stage("late")
    bench.wait(10 * MS - 1)
    assert bench.answers == []
    assert bench.scheduler.next_timer_ns() == bench.now + 1
    bench.wait(1)
    assert bench.answered() == [("late", "over_budget")]
    bench.work_off()
    assert sorted(bench.released) == ["busy", "late"]
    assert len(bench.seen(Run)) == 1


def test_a_frame_whose_inference_has_begun_is_finished() -> None:
    """Its budget counts no more: most of the work is done."""
    bench = Bench()
    session = bench.open(some_terms(budget_ns=10 * MS))
    bench.send(session, "a", 9)
    bench.stage("a")
    bench.wait(20 * MS)
    bench.work_off()
    assert bench.answered() == [("a", "9")]


def test_the_age_at_arrival_counts() -> None:
    """A frame that was old when it came has less time left."""
    bench = Bench(some_limits(staging_slots=1))
    session = bench.open(some_terms(budget_ns=10 * MS))
    bench.take(bench.scheduler.frame_arrived(session, a_request(1, age_ns=4 * MS), "a", bench.now))
    assert bench.scheduler.next_timer_ns() == bench.now + 6 * MS


def test_a_vanished_client_costs_no_more() -> None:
    """What has not started never does; what runs is let go when it comes back; nothing is said to anybody."""
    bench = Bench(some_limits(models=(ModelTerms(name="osnet", max_batch=2, slots=1, cores=1),), staging_slots=1))
    session = bench.open(some_terms())
    for name in ("a", "b", "c"):
        bench.send(session, name, 3)
    bench.stage("a")
    bench.take(bench.scheduler.session_lost(session, bench.now))
    assert bench.released == ["c"]
    bench.finish()
    assert bench.released == ["c", "a"]
    assert len(bench.seen(Run)) == 1
    bench.work_off()
    assert sorted(bench.released) == ["a", "b", "c"]
    assert bench.answers == []
    assert_empty(bench)
    assert bench.scheduler.statistics(bench.now).timers == 0


def test_a_half_closed_session_ends_when_all_is_answered() -> None:
    """And written."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a")
    bench.take(bench.scheduler.half_closed(session, bench.now))
    bench.work_off()
    assert bench.seen(End) == []
    bench.write(session)
    assert bench.seen(End) == [End(session=session, cause=EndCause.FINISHED)]
    assert bench.scheduler.statistics(bench.now).sessions == 0


def test_a_client_that_does_not_read_is_given_up() -> None:
    """Its frames are let go, and nobody else notices."""
    bench = Bench()
    session = bench.open(some_terms(ordering=Ordering.AS_COMPLETED))
    bench.send(session, "a")
    bench.send(session, "b")
    bench.stage("a")
    bench.finish()
    bench.wait(1_000 * MS)
    assert bench.seen(End) == [End(session=session, cause=EndCause.STALLED)]
    bench.work_off()
    assert bench.answered() == [("a", "1")]
    assert sorted(bench.released) == ["a", "b"]


def test_drain_answers_what_was_read_and_nothing_after() -> None:
    """The client is told the last frame that counts, and the session ends when that is answered."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a", frame_id=7)
    deadline = bench.now + 50 * MS
    bench.take(bench.scheduler.drain(session, DrainReason.SHUTDOWN, deadline, bench.now))
    assert bench.seen(SendDrain) == [
        SendDrain(session=session, last_accepted_frame_id=7, deadline_ns=deadline, reason=DrainReason.SHUTDOWN)
    ]
    bench.send(session, "after", frame_id=8)
    bench.work_off()
    assert bench.answered() == [("a", "1")]
    bench.write(session)
    assert bench.seen(End) == [End(session=session, cause=EndCause.DRAINED)]
    assert bench.scheduler.statistics(bench.now).timers == 0


def test_at_the_drain_deadline_the_rest_is_answered() -> None:
    """So that the client can send it elsewhere, even a frame that waited for room."""
    bench = Bench(some_limits(queue_boxes=4))
    bench.send(bench.open(some_terms("other")), "full", 4)
    session = bench.open(some_terms())
    bench.send(session, "waits", 2)
    for deadline in (80 * MS, 50 * MS, 90 * MS):
        drained = bench.scheduler.drain(session, DrainReason.SHUTDOWN, bench.now + deadline, bench.now)
        bench.take(drained)
    assert len(bench.seen(SendDrain)) == 1
    bench.wait(50 * MS - 1)
    assert bench.answers == []
    bench.wait(1)
    assert bench.answered() == [("waits", "shutting_down")]


def test_an_idle_session_is_drained_at_once() -> None:
    """It has read nothing, and says so."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.take(bench.scheduler.drain(session, DrainReason.CONNECTION_AGE, bench.now + MS, bench.now))
    assert [type(effect) for effect in bench.effects] == [SendDrain, End]
    (drain,) = bench.seen(SendDrain)
    assert isinstance(drain, SendDrain)
    assert drain.last_accepted_frame_id is None


def test_events_for_what_is_gone_are_ignored() -> None:
    """A decoder, an engine or a transport may come back late, or twice."""
    bench = Bench()
    session = bench.open(some_terms())
    bench.send(session, "a")
    key = bench.staging["a"]
    bench.stage("a")
    bench.take(bench.scheduler.frame_staged(key, bench.now))
    bench.take(bench.scheduler.frame_staging_failed(key, BROKEN, bench.now))
    run = bench.running[0]
    bench.finish()
    bench.take(bench.scheduler.batch_done(ONLY, run.batch, bench.now))
    bench.take(bench.scheduler.batch_failed(ONLY, run.batch, "late", bench.now))
    bench.write(session)
    bench.write(session)
    assert bench.answered() == [("a", "1")]
    assert bench.released == ["a"]
    nobody, nothing = SessionKey(999), FrameKey(999)
    late = [
        bench.scheduler.frame_arrived(nobody, a_request(1), "b", bench.now),
        bench.scheduler.frame_refused(nobody, 1, BROKEN, bench.now),
        bench.scheduler.frame_staged(nothing, bench.now),
        bench.scheduler.frame_staging_failed(nothing, BROKEN, bench.now),
        bench.scheduler.answer_written(nobody, bench.now),
        bench.scheduler.half_closed(nobody, bench.now),
        bench.scheduler.drain(nobody, DrainReason.SHUTDOWN, bench.now, bench.now),
        bench.scheduler.session_lost(nobody, bench.now),
        bench.scheduler.batch_done(ONLY, BatchKey(999), bench.now),
        bench.scheduler.batch_failed(ONLY, BatchKey(999), "late", bench.now),
        bench.scheduler.on_timer(bench.now),
    ]
    assert not any(late)
    assert bench.scheduler.readable(nobody)
    assert_empty(bench)


class Image:
    """What a payload holds on to."""


@pytest.mark.parametrize("policy", list(OverloadPolicy))
@pytest.mark.parametrize("end", ["answered", "vanished"])
def test_images_are_let_go_at_once(policy: OverloadPolicy, end: str) -> None:
    """Not at the next garbage collection: a queue of 8K frames would wait for it."""
    scheduler: Scheduler[Image] = Scheduler(
        some_limits(models=(ModelTerms(name="osnet", max_batch=1, slots=1, cores=1),))
    )
    session = scheduler.open_session(some_terms(policy=policy, frames=2, ordering=Ordering.AS_COMPLETED))
    images = [Image() for _ in range(3)]
    alive = weakref.WeakSet(images)
    gc.disable()
    try:
        for number, image in enumerate(images):
            scheduler.frame_arrived(session, a_request(number, 2), image, START_NS)
        del image
        images.clear()
        if end == "vanished":
            scheduler.session_lost(session, START_NS)
        for batch in range(1, 10):
            for key in range(10):
                scheduler.frame_staged(FrameKey(key), START_NS)
            scheduler.batch_done(ONLY, BatchKey(batch), START_NS)
            scheduler.answer_written(session, START_NS)
        assert scheduler.statistics(START_NS).frames == 0
        assert len(alive) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("way", ["dropped", "rejected", "over its budget", "without boxes"])
def test_a_message_is_let_go_although_its_answer_waits_for_its_turn(way: str) -> None:
    """No bound counts it any more, and hundreds of them may wait behind one slow frame."""
    policy = OverloadPolicy.DROP_OLDEST if way == "dropped" else OverloadPolicy.REJECT
    bench = Bench(some_limits(staging_slots=1))
    budget_ns = 10 * MS if way == "over its budget" else None
    session = bench.open(some_terms(policy=policy, frames=2 if way == "dropped" else 1, budget_ns=budget_ns))
    bench.send(session, "slow")
    if budget_ns is not None:
        bench.stage("slow")
        bench.wait(20 * MS)
        bench.take(
            bench.scheduler.frame_arrived(session, a_request(9, age_ns=budget_ns), "given up", bench.now),
        )
    else:
        bench.send(session, "given up", 0 if way == "without boxes" else 1)
        bench.send(session, "newest")
    assert "given up" in bench.released
    assert bench.answers == []
    bench.work_off()
    assert [answer.payload for answer in bench.answers][:2] == ["slow", "given up"]
    assert len(bench.released) == len(set(bench.released)) == len(bench.answers)
    assert bench.scheduler.statistics(bench.now).frames == 0


@pytest.mark.parametrize("ordering", Ordering)
@pytest.mark.parametrize("way", ["plain", "many batches", "two models", "tried again", "an invalid crop", "drained"])
def test_pixels_are_let_go_before_their_embeddings_are_answered(way: str, ordering: Ordering) -> None:
    """So a client that shares its memory may write to it once it has the answer, and changes no vector."""
    bench = Bench(some_limits(models=TWO_MODELS))
    session = bench.open(some_terms(ordering=ordering))
    for number in range(1, 6):
        chosen = (ONLY, OTHER) if way == "two models" else (ONLY,)
        boxes = 11 if way == "many batches" else 3
        request = a_request(number, boxes, models=chosen)
        bench.take(bench.scheduler.frame_arrived(session, request, f"frame {number}", bench.now))
    if way == "drained":
        deadline = bench.now + 10**9
        bench.take(bench.scheduler.drain(session, DrainReason.SHUTDOWN, deadline, bench.now))
    turn = 0
    while bench.staging or bench.running:
        turn += 1
        if bench.staging:
            bench.stage(next(reversed(bench.staging)), [1] if way == "an invalid crop" else [])
        elif way == "tried again" and turn % 3 == 0:
            bench.fail()
        else:
            bench.finish()
    assert sorted(str(answer.payload) for answer in bench.answers) == [f"frame {number}" for number in range(1, 6)]
    for answer in bench.answers:
        assert answer.fault is None
        released = [index for index, effect in enumerate(bench.effects) if effect == Release(payload=answer.payload)]
        assert len(released) == 1
        assert released[0] < bench.effects.index(answer)


@pytest.mark.parametrize("stage_first", [False, True])
def test_a_frame_that_is_given_up_has_no_vectors_of_pixels_that_change(*, stage_first: bool) -> None:
    """Its answer does not wait for a decoder or an engine that still looks at them; what comes of it nobody gets."""
    bench = Bench()
    session = bench.open(some_terms(budget_ns=50 * MS))
    bench.send(session, "slow", 2)
    if stage_first:
        bench.stage("slow")
        bench.take(bench.scheduler.drain(session, DrainReason.SHUTDOWN, bench.now + 60 * MS, bench.now))
    bench.wait(100 * MS)
    assert [answer.fault is not None for answer in bench.answers] == [True]
    assert bench.released == []
    bench.work_off()
    assert bench.released == ["slow"]
    assert len(bench.answers) == 1
    assert bench.answers[0].outcomes == ()
