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
    Ordering,
    OverloadPolicy,
    SessionKey,
)

from .builders import MS, ONLY, OTHER, START_NS, Driver, a_model, a_request, some_limits, some_terms

BROKEN = FrameFault(reason=FaultReason.INVALID_IMAGE, message="not an image")
TWO_MODELS = (a_model("osnet"), a_model("vehicles"))
BOTH = (ONLY, OTHER)


def assert_empty(driver: Driver) -> None:
    """Nothing is held any more."""
    statistics = driver.scheduler.statistics(driver.now)
    assert (statistics.frames, statistics.queue_boxes, statistics.queue_bytes, statistics.staged_bytes) == (0, 0, 0, 0)
    assert (statistics.staging_frames, statistics.parked_frames, statistics.oldest_waiting_s) == (0, 0, 0.0)
    assert all((model.ready_crops, model.running_batches) == (0, 0) for model in statistics.models)


def test_a_frame_goes_its_way() -> None:
    """Staged, run in as many batches as it takes, released, answered with the times of all of it."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a", 6)
    driver.now += MS
    driver.stage("a")
    driver.now += MS
    driver.finish()
    assert driver.released == []
    driver.finish()
    assert driver.released == ["a"]
    (answer,) = driver.answers
    assert answer.outcomes == (CropOutcome.EMBEDDED,) * 6
    times = answer.times
    assert (times.arrived_ns, times.staging_ns, times.decoded_ns) == (START_NS, START_NS, START_NS + MS)
    assert (times.first_batch_ns, times.last_batch_ns) == (START_NS + MS, START_NS + 2 * MS)
    assert times.batch_sizes == (4, 2)
    driver.write(session)
    assert_empty(driver)


def test_a_frame_may_use_several_models() -> None:
    """It is staged once, each crop goes to its own model, and the answer waits for both."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(models=BOTH))
    request = a_request(1, 5, models=BOTH)
    driver.take(driver.scheduler.frame_arrived(session, request, "a", driver.now))
    driver.stage("a")
    assert [(run.model, tuple(ref.index for ref in run.crops)) for run in driver.running] == [
        (0, (0, 2, 4)),
        (1, (1, 3)),
    ]
    driver.finish()
    assert driver.answers == []
    driver.finish()
    assert driver.answered() == [("a", "5")]


def test_staging_goes_on_while_engines_run() -> None:
    """As soon as a batch has left, the next frames are staged, so that no engine waits for a decoder."""
    driver = Driver(some_limits(staging_slots=1), models=[a_model()])
    session = driver.open(some_terms())
    for name in ("a", "b", "c"):
        driver.send(session, name, 4)
    driver.stage("a")
    assert (len(driver.running), set(driver.staging)) == (1, {"b"})
    driver.stage("b")
    assert set(driver.staging) == set(), "the batch after the running one is ready: fresher frames may still come"
    driver.finish()
    assert set(driver.staging) == {"c"}


def test_on_one_core_a_staged_frame_is_embedded_before_the_next_is_decoded() -> None:
    """Work that is begun is finished first: otherwise every frame waits for the decoding of those behind it."""
    driver = Driver(some_limits(cores=1))
    session = driver.open(some_terms())
    for name in ("a", "b"):
        driver.send(session, name, 6)
    assert set(driver.staging) == {"a"}
    driver.stage("a")
    assert ([len(run.crops) for run in driver.running], set(driver.staging)) == ([4], set())
    driver.finish()
    assert ([len(run.crops) for run in driver.running], set(driver.staging)) == ([2], set())
    driver.finish()
    assert set(driver.staging) == {"b"}


def test_on_one_core_models_take_turns() -> None:
    """A model whose crops never end does not keep another from its own."""
    driver = Driver(some_limits(cores=1), models=TWO_MODELS)
    session = driver.open(some_terms(models=BOTH))
    request = a_request(1, 24, models=BOTH)
    driver.take(driver.scheduler.frame_arrived(session, request, "a", driver.now))
    driver.stage("a")
    turns = []
    while driver.running:
        turns.append(driver.running[0].model)
        driver.finish()
    assert turns == [0, 1, 0, 1, 0, 1]


def test_a_batch_on_a_device_takes_no_core() -> None:
    """Staging goes on beside it."""
    driver = Driver(some_limits(cores=1), models=[a_model(cores=0)])
    session = driver.open(some_terms())
    for name in ("a", "b"):
        driver.send(session, name, 4)
    driver.stage("a")
    assert (len(driver.running), set(driver.staging)) == (1, {"b"})


def test_no_core_is_idle_while_frames_wait() -> None:
    """However small batches are: one frame has crops for every slot, and is no reason to leave the other core idle."""
    driver = Driver(some_limits(cores=2), models=[a_model(slots=2)])
    session = driver.open(some_terms())
    for name in ("a", "b", "c"):
        driver.send(session, name, 8)
    assert set(driver.staging) == {"a", "b"}
    driver.stage("a")
    assert (len(driver.running), set(driver.staging)) == (2, {"b"}), "one piece waits for the core that is free next"
    while len(driver.answers) < 2:
        assert len(driver.staging) + len(driver.running) >= 2
        if driver.running:
            driver.finish()
        else:
            driver.stage(next(iter(driver.staging)))


def test_a_piece_of_work_waits_for_the_core_that_is_free_next() -> None:
    """One, not more; not on a single core, and not when a batch has several cores."""
    for cores, batch_cores, running in ((2, 1, 3), (1, 1, 1), (2, 2, 1), (3, 2, 2)):
        driver = Driver(some_limits(cores=cores), models=[a_model(max_batch=1, slots=8, cores=batch_cores)])
        session = driver.open(some_terms())
        driver.send(session, "a", 8)
        driver.stage("a")
        assert len(driver.running) == running


def test_an_idle_engine_does_not_make_others_decode_ahead() -> None:
    """A frame is staged when its own engine needs it: what waits undecided can still be dropped, or overtaken."""
    driver = Driver(some_limits(staging_slots=2), models=TWO_MODELS)
    session = driver.open(some_terms())
    for name in ("a", "b", "c", "d"):
        driver.send(session, name, 4)
    driver.stage("a")
    driver.stage("b")
    driver.stage("c")
    assert set(driver.staging) == set(), "two frames wait for the one batch that runs"
    request = a_request(9, 4, models=(OTHER,))
    other = driver.open(some_terms("other", models=BOTH))
    driver.take(driver.scheduler.frame_arrived(other, request, "other", driver.now))
    assert set(driver.staging) == {"other"}


def test_staged_bytes_are_bounded() -> None:
    """The next frame is staged when an earlier one was released, and how long it has waited for that can be seen."""
    driver = Driver(some_limits(staged_bytes=150))
    session = driver.open(some_terms())
    for name in ("a", "b"):
        driver.send(session, name, size=100)
    assert set(driver.staging) == {"a"}
    driver.now += 30 * MS
    assert driver.scheduler.statistics(driver.now).oldest_waiting_s == 0.03
    driver.stage("a")
    driver.finish()
    assert (driver.released, set(driver.staging)) == (["a"], {"b"})


def test_a_frame_that_cannot_be_staged_fails_alone() -> None:
    """It is answered so, what is left of it is let go, and the next one is staged."""
    driver = Driver(some_limits(staging_slots=1))
    session = driver.open(some_terms())
    driver.send(session, "bad")
    driver.send(session, "good")
    driver.take(driver.scheduler.frame_staging_failed(driver.staging.pop("bad"), BROKEN, driver.now))
    driver.work_off()
    assert driver.answered() == [("bad", "invalid_image"), ("good", "1")]
    assert driver.released == ["bad", "good"]
    assert_empty(driver)


def test_crops_that_cannot_be_decoded_fail_alone() -> None:
    """Also if these are all that the frame has."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "some", 3)
    driver.send(session, "all", 2)
    driver.stage("some", invalid=(1,))
    driver.stage("all", invalid=(0, 1))
    driver.work_off()
    embedded, invalid = CropOutcome.EMBEDDED, CropOutcome.INVALID_IMAGE
    assert [answer.outcomes for answer in driver.answers] == [(embedded, invalid, embedded), (invalid, invalid)]
    assert driver.released == ["all", "some"]
    assert_empty(driver)


def test_a_failed_batch_is_tried_crop_by_crop() -> None:
    """Only the crop that fails alone is given up; a batch of one is not tried again."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a", 3)
    driver.stage("a")
    driver.fail()
    assert [len(run.crops) for run in driver.running] == [1, 1]
    driver.fail()
    driver.work_off()
    (answer,) = driver.answers
    assert answer.outcomes == (CropOutcome.FAILED, CropOutcome.EMBEDDED, CropOutcome.EMBEDDED)
    assert driver.seen(BatchFailed) == [
        BatchFailed(model=ONLY, size=3, message="raised", retried=True),
        BatchFailed(model=ONLY, size=1, message="raised", retried=False),
    ]
    assert_empty(driver)


def test_a_lost_engine_answers_whoever_needs_it() -> None:
    """Now and from now on; frames of other models go on, and pixels are given back when its batch is."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(ordering=Ordering.AS_COMPLETED, models=BOTH))
    for name, models, frame_id in (("a", (ONLY,), 1), ("b", (OTHER,), 2)):
        request = a_request(frame_id, 2, models=models)
        driver.take(driver.scheduler.frame_arrived(session, request, name, driver.now))
    driver.stage("a")
    driver.stage("b")
    lost = driver.running.pop(0)
    driver.take(driver.scheduler.engine_lost(ONLY, "sticky", driver.now))
    driver.take(driver.scheduler.engine_lost(ONLY, "sticky", driver.now))
    assert (driver.answered(), driver.released) == ([("a", "engine_lost")], [])
    driver.send(session, "c", frame_id=3)
    driver.take(driver.scheduler.batch_failed(ONLY, lost.batch, "sticky", driver.now))
    driver.work_off()
    assert driver.answered() == [("a", "engine_lost"), ("c", "engine_lost"), ("b", "2")]
    faults = [item.fault.message for item in driver.effects if isinstance(item, Answer) and item.fault is not None]
    assert faults == ["the engine of model 'osnet' cannot go on (sticky); send the frame elsewhere"] * 2
    assert driver.seen(EngineDied) == [EngineDied(model=ONLY, message="sticky", running=1)]
    assert sorted(driver.released) == ["a", "b", "c"]
    assert_empty(driver)


def test_a_batch_that_does_not_come_back_loses_its_engine() -> None:
    """After the batch timeout, and its late return is taken for what it is."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    driver.stage("a")
    driver.wait(1_000 * MS - 1)
    assert driver.seen(EngineDied) == []
    driver.wait(1)
    assert driver.answered() == [("a", "engine_lost")]
    driver.finish()
    assert driver.released == ["a"]
    driver.write(session)
    assert_empty(driver)


@pytest.mark.parametrize("stage_first", [False, True])
def test_a_frame_over_its_budget_is_answered_then(*, stage_first: bool) -> None:
    """When its time has come, staged or not; its pixels come back, and nothing of it runs."""
    driver = Driver(models=[a_model(max_batch=1)])
    driver.send(driver.open(some_terms("other")), "busy")
    driver.stage("busy")
    session = driver.open(some_terms(budget_ns=10 * MS))
    driver.send(session, "late")
    if stage_first:
        driver.stage("late")
    driver.wait(10 * MS - 1)
    assert driver.answers == []
    assert driver.scheduler.next_timer_ns() == driver.now + 1
    driver.wait(1)
    assert driver.answered() == [("late", "over_budget")]
    driver.work_off()
    assert sorted(driver.released) == ["busy", "late"]
    assert len(driver.seen(Run)) == 1


def test_a_frame_whose_inference_has_begun_is_finished() -> None:
    """Its budget counts no more: most of the work is done."""
    driver = Driver()
    session = driver.open(some_terms(budget_ns=10 * MS))
    driver.send(session, "a", 9)
    driver.stage("a")
    driver.wait(20 * MS)
    driver.work_off()
    assert driver.answered() == [("a", "9")]


def test_the_age_at_arrival_counts() -> None:
    """A frame that was old when it came has less time left."""
    driver = Driver(some_limits(staging_slots=1))
    session = driver.open(some_terms(budget_ns=10 * MS))
    driver.take(driver.scheduler.frame_arrived(session, a_request(1, age_ns=4 * MS), "a", driver.now))
    assert driver.scheduler.next_timer_ns() == driver.now + 6 * MS


def test_a_vanished_client_costs_no_more() -> None:
    """What has not started never does; what runs is let go when it comes back; nothing is said to anybody."""
    driver = Driver(some_limits(staging_slots=1), models=[a_model(max_batch=2)])
    session = driver.open(some_terms())
    for name in ("a", "b", "c"):
        driver.send(session, name, 3)
    driver.stage("a")
    driver.take(driver.scheduler.session_lost(session, driver.now))
    assert driver.released == ["c"]
    driver.finish()
    assert driver.released == ["c", "a"]
    assert len(driver.seen(Run)) == 1
    driver.work_off()
    assert sorted(driver.released) == ["a", "b", "c"]
    assert driver.answers == []
    assert_empty(driver)
    assert driver.scheduler.statistics(driver.now).timers == 0


def test_a_half_closed_session_ends_when_all_is_answered() -> None:
    """And written."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    driver.take(driver.scheduler.half_closed(session, driver.now))
    driver.work_off()
    assert driver.seen(End) == []
    driver.write(session)
    assert driver.seen(End) == [End(session=session, cause=EndCause.FINISHED)]
    assert driver.scheduler.statistics(driver.now).sessions == 0


def test_a_client_that_does_not_read_is_given_up() -> None:
    """Its frames are let go, and nobody else notices."""
    driver = Driver()
    session = driver.open(some_terms(ordering=Ordering.AS_COMPLETED))
    driver.send(session, "a")
    driver.send(session, "b")
    driver.stage("a")
    driver.finish()
    driver.wait(1_000 * MS)
    assert driver.seen(End) == [End(session=session, cause=EndCause.STALLED)]
    driver.work_off()
    assert driver.answered() == [("a", "1")]
    assert sorted(driver.released) == ["a", "b"]


def test_drain_answers_what_was_read_and_nothing_after() -> None:
    """The client is told the last frame that counts, and the session ends when that is answered."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a", frame_id=7)
    deadline = driver.now + 50 * MS
    driver.take(driver.scheduler.drain(session, DrainReason.SHUTDOWN, deadline, driver.now))
    assert driver.seen(SendDrain) == [
        SendDrain(session=session, last_accepted_frame_id=7, deadline_ns=deadline, reason=DrainReason.SHUTDOWN)
    ]
    driver.send(session, "after", frame_id=8)
    driver.work_off()
    assert driver.answered() == [("a", "1")]
    driver.write(session)
    assert driver.seen(End) == [End(session=session, cause=EndCause.DRAINED)]
    assert driver.scheduler.statistics(driver.now).timers == 0


def test_at_the_drain_deadline_the_rest_is_answered() -> None:
    """So that the client can send it elsewhere, even a frame that waited for room."""
    driver = Driver(some_limits(queue_boxes=4))
    driver.send(driver.open(some_terms("other")), "full", 4)
    session = driver.open(some_terms())
    driver.send(session, "waits", 2)
    for deadline in (80 * MS, 50 * MS, 90 * MS):
        drained = driver.scheduler.drain(session, DrainReason.SHUTDOWN, driver.now + deadline, driver.now)
        driver.take(drained)
    assert len(driver.seen(SendDrain)) == 1
    driver.wait(50 * MS - 1)
    assert driver.answers == []
    driver.wait(1)
    assert driver.answered() == [("waits", "shutting_down")]


def test_an_idle_session_is_drained_at_once() -> None:
    """It has read nothing, and says so."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.take(driver.scheduler.drain(session, DrainReason.CONNECTION_AGE, driver.now + MS, driver.now))
    assert [type(effect) for effect in driver.effects] == [SendDrain, End]
    (drain,) = driver.seen(SendDrain)
    assert isinstance(drain, SendDrain)
    assert drain.last_accepted_frame_id is None


def test_events_for_what_is_gone_are_ignored() -> None:
    """A decoder, an engine or a transport may come back late, or twice."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    key = driver.staging["a"]
    driver.stage("a")
    driver.take(driver.scheduler.frame_staged(key, driver.now))
    driver.take(driver.scheduler.frame_staging_failed(key, BROKEN, driver.now))
    run = driver.running[0]
    driver.finish()
    driver.take(driver.scheduler.batch_done(ONLY, run.batch, driver.now))
    driver.take(driver.scheduler.batch_failed(ONLY, run.batch, "late", driver.now))
    driver.write(session)
    driver.write(session)
    assert driver.answered() == [("a", "1")]
    assert driver.released == ["a"]
    nobody, nothing = SessionKey(999), FrameKey(999)
    late = [
        driver.scheduler.frame_arrived(nobody, a_request(1), "b", driver.now),
        driver.scheduler.frame_refused(nobody, 1, BROKEN, driver.now),
        driver.scheduler.frame_staged(nothing, driver.now),
        driver.scheduler.frame_staging_failed(nothing, BROKEN, driver.now),
        driver.scheduler.answer_written(nobody, driver.now),
        driver.scheduler.half_closed(nobody, driver.now),
        driver.scheduler.drain(nobody, DrainReason.SHUTDOWN, driver.now, driver.now),
        driver.scheduler.session_lost(nobody, driver.now),
        driver.scheduler.batch_done(ONLY, BatchKey(999), driver.now),
        driver.scheduler.batch_failed(ONLY, BatchKey(999), "late", driver.now),
        driver.scheduler.on_timer(driver.now),
    ]
    assert not any(late)
    assert driver.scheduler.readable(nobody)
    assert_empty(driver)


class Image:
    """What a payload holds on to."""


@pytest.mark.parametrize("policy", list(OverloadPolicy))
@pytest.mark.parametrize("end", ["answered", "vanished"])
def test_images_are_let_go_at_once(policy: OverloadPolicy, end: str) -> None:
    """Not at the next garbage collection: a queue of 8K frames would wait for it."""
    scheduler: Scheduler[Image] = Scheduler(some_limits())
    scheduler.add_model(a_model(max_batch=1))
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
    driver = Driver(some_limits(staging_slots=1))
    budget_ns = 10 * MS if way == "over its budget" else None
    session = driver.open(some_terms(policy=policy, frames=2 if way == "dropped" else 1, budget_ns=budget_ns))
    driver.send(session, "slow")
    if budget_ns is not None:
        driver.stage("slow")
        driver.wait(20 * MS)
        driver.take(
            driver.scheduler.frame_arrived(session, a_request(9, age_ns=budget_ns), "given up", driver.now),
        )
    else:
        driver.send(session, "given up", 0 if way == "without boxes" else 1)
        driver.send(session, "newest")
    assert "given up" in driver.released
    assert driver.answers == []
    driver.work_off()
    assert [answer.payload for answer in driver.answers][:2] == ["slow", "given up"]
    assert len(driver.released) == len(set(driver.released)) == len(driver.answers)
    assert driver.scheduler.statistics(driver.now).frames == 0


@pytest.mark.parametrize("ordering", Ordering)
@pytest.mark.parametrize("way", ["plain", "many batches", "two models", "tried again", "an invalid crop", "drained"])
def test_pixels_are_let_go_before_their_embeddings_are_answered(way: str, ordering: Ordering) -> None:
    """So a client that shares its memory may write to it once it has the answer, and changes no vector."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(ordering=ordering, models=BOTH))
    for number in range(1, 6):
        chosen = BOTH if way == "two models" else (ONLY,)
        boxes = 11 if way == "many batches" else 3
        request = a_request(number, boxes, models=chosen)
        driver.take(driver.scheduler.frame_arrived(session, request, f"frame {number}", driver.now))
    if way == "drained":
        deadline = driver.now + 10**9
        driver.take(driver.scheduler.drain(session, DrainReason.SHUTDOWN, deadline, driver.now))
    turn = 0
    while driver.staging or driver.running:
        turn += 1
        if driver.staging:
            driver.stage(next(reversed(driver.staging)), [1] if way == "an invalid crop" else [])
        elif way == "tried again" and turn % 3 == 0:
            driver.fail()
        else:
            driver.finish()
    assert sorted(str(answer.payload) for answer in driver.answers) == [f"frame {number}" for number in range(1, 6)]
    for answer in driver.answers:
        assert answer.fault is None
        released = [
            index
            for index, effect in enumerate(driver.effects)
            if effect == Release(payload=answer.payload, vectors=answer.fault is not None)
        ]
        assert len(released) == 1
        assert released[0] < driver.effects.index(answer)


@pytest.mark.parametrize("stage_first", [False, True])
def test_a_frame_that_is_given_up_has_no_vectors_of_pixels_that_change(*, stage_first: bool) -> None:
    """Its answer does not wait for a decoder or an engine that still looks at them; what comes of it nobody gets."""
    driver = Driver()
    session = driver.open(some_terms(budget_ns=50 * MS))
    driver.send(session, "slow", 2)
    if stage_first:
        driver.stage("slow")
        driver.take(driver.scheduler.drain(session, DrainReason.SHUTDOWN, driver.now + 60 * MS, driver.now))
    driver.wait(100 * MS)
    assert [answer.fault is not None for answer in driver.answers] == [True]
    assert driver.released == []
    driver.work_off()
    assert driver.released == ["slow"]
    assert len(driver.answers) == 1
    assert driver.answers[0].outcomes == ()
