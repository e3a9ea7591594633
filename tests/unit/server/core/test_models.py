"""Models that come and go: who may use them, what is finished with them, and when nothing of them is left."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sized
from enum import Enum

import pytest

from reidstream_server.core.effects import Answer, EngineDied, Release, Retired, Run, Stage
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.statistics import SessionStatistics
from reidstream_server.core.terms import BatchKey, DrainReason, ModelIndex, SessionKey, Window

from .builders import MS, ONLY, OTHER, START_NS, Driver, a_model, a_request, some_limits, some_terms

BROKEN = FrameFault(reason=FaultReason.INVALID_IMAGE, message="not an image")
BOTH = (ONLY, OTHER)
TWO_MODELS = (a_model("osnet"), a_model("vehicles"))


def retire(driver: Driver, model: ModelIndex = ONLY) -> None:
    driver.take(driver.scheduler.retire_model(model, driver.now))


def send(driver: Driver, session: SessionKey, name: str, boxes: int, *models: ModelIndex) -> None:
    request = a_request(driver.next_id(), boxes, models=models)
    driver.take(driver.scheduler.frame_arrived(session, request, name, driver.now))


def lose_client(driver: Driver, session: SessionKey) -> None:
    driver.take(driver.scheduler.session_lost(session, driver.now))


def gone(driver: Driver) -> list[ModelIndex]:
    """The models that are gone, in order."""
    return [effect.model for effect in driver.effects if isinstance(effect, Retired)]


def there(driver: Driver) -> list[ModelIndex]:
    """The models that are there, by the statistics."""
    return [model.index for model in driver.scheduler.statistics(driver.now).models]


# They come.


def test_a_scheduler_begins_without_models() -> None:
    """Until one is added, a session can name none."""
    driver = Driver(models=())
    assert there(driver) == []
    with pytest.raises(LookupError, match=r"model 0 was never added; there have been 0 so far"):
        driver.open(some_terms())


def test_a_model_that_comes_is_used_by_sessions_that_open_then() -> None:
    """Others stay on theirs; a batch holds crops for one model only."""
    driver = Driver()
    old = driver.open(some_terms("old"))
    newer = driver.scheduler.add_model(a_model("osnet", slots=2))
    new = driver.open(some_terms("new", models=(newer,)))
    send(driver, old, "a", 2, ONLY)
    send(driver, new, "b", 2, newer)
    driver.stage("a")
    driver.stage("b")
    assert [(run.model, len(run.crops)) for run in driver.running] == [(ONLY, 2), (newer, 2)]
    driver.work_off()
    assert driver.answered() == [("a", "2"), ("b", "2")]


def test_a_model_that_comes_shares_the_cores() -> None:
    """It has its turns like those that were there before, and its batches count."""
    driver = Driver(some_limits(cores=1), models=[a_model()])
    newer = driver.scheduler.add_model(a_model())
    session = driver.open(some_terms(models=(ONLY, newer)))
    send(driver, session, "a", 16, ONLY, newer)
    driver.stage("a")
    turns = []
    while driver.running:
        assert len(driver.running) == 1
        turns.append(driver.running[0].model)
        driver.finish()
    assert turns == [ONLY, newer, ONLY, newer]


def test_an_index_is_never_used_again() -> None:
    """Whatever comes late for a model that is gone cannot hit another one."""
    driver = Driver()
    retire(driver)
    assert driver.scheduler.add_model(a_model()) == ModelIndex(1)


# Who may use them.


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (0, r"model 0 \('osnet'\) is retiring; open the session on one that is served"),
        (1, "model 1 is gone: it was retired; open the session on one that is served"),
        (7, "model 7 was never added; there have been 3 so far, counted from 0"),
    ],
)
def test_a_session_opens_on_models_that_are_served(model: int, message: str) -> None:
    """A mistake of the caller is told, and changes nothing: the good model that it named, too, can go."""
    driver = Driver(models=[a_model(), a_model(), a_model()])
    good = ModelIndex(2)
    driver.open(some_terms(models=(ONLY,)))
    retire(driver, ONLY)
    retire(driver, OTHER)
    with pytest.raises(LookupError, match=message):
        driver.open(some_terms(models=(good, ModelIndex(model))))
    assert driver.scheduler.statistics(driver.now).sessions == 1
    retire(driver, good)
    assert gone(driver) == [OTHER, good]


def test_a_frame_names_models_of_its_session() -> None:
    """A mistake of the caller is told, and changes nothing: the next frame has the same id, and the model can go."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(models=(ONLY,)))
    with pytest.raises(LookupError, match=r"frame 1 has crops for the models \[0, 1\]; its session may use \[0\]"):
        driver.scheduler.frame_arrived(session, a_request(1, 2, models=BOTH), "a", driver.now)
    driver.send(session, "b", frame_id=1)
    driver.work_off()
    assert driver.answered() == [("b", "1")]
    retire(driver, OTHER)
    assert gone(driver) == [OTHER]


def test_a_frame_that_comes_after_the_drain_is_ignored_whatever_it_names() -> None:
    """It is not looked at."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(models=(ONLY,)))
    driver.send(session, "a")
    driver.take(driver.scheduler.drain(session, DrainReason.SHUTDOWN, driver.now + MS, driver.now))
    assert driver.scheduler.frame_arrived(session, a_request(9, 1, models=(OTHER,)), "b", driver.now) == []


# What begins with a model is finished with it.


def test_a_session_goes_on_using_a_model_that_retires() -> None:
    """Frames before and after are embedded alike, those of a failed batch one by one."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "before", 3)
    retire(driver)
    driver.send(session, "after", 3)
    driver.stage("before")
    driver.fail()
    driver.work_off()
    assert driver.answered() == [("before", "3"), ("after", "3")]
    assert gone(driver) == []


def test_a_model_that_retires_keeps_its_turns_and_its_linger() -> None:
    """Its frames are no worse off than those of others."""
    driver = Driver(some_limits(linger_ns=5 * MS), models=[a_model()])
    session = driver.open(some_terms())
    retire(driver)
    driver.send(session, "a", 2)
    driver.stage("a")
    assert (driver.running, driver.scheduler.next_timer_ns()) == ([], driver.now + 5 * MS)
    driver.wait(5 * MS)
    assert [len(run.crops) for run in driver.running] == [2]


# They go.


def test_a_model_that_nobody_uses_is_gone_at_once() -> None:
    """In the very event."""
    driver = Driver(models=TWO_MODELS)
    assert driver.scheduler.retire_model(ONLY, driver.now) == [Retired(model=ONLY)]
    assert there(driver) == [OTHER]


def test_a_model_goes_with_the_end_of_its_last_session() -> None:
    """Not before the answers are written; Retired is the last effect of that event. Others do not matter."""
    driver = Driver(models=TWO_MODELS)
    first, last, other = (driver.open(some_terms(models=(model,))) for model in (ONLY, ONLY, OTHER))
    driver.send(last, "a")
    retire(driver)
    driver.take(driver.scheduler.half_closed(first, driver.now))
    driver.take(driver.scheduler.half_closed(last, driver.now))
    driver.work_off()
    assert gone(driver) == []
    driver.write(last)
    assert gone(driver) == [ONLY]
    assert driver.effects[-1] == Retired(model=ONLY)
    assert there(driver) == [OTHER]
    assert driver.scheduler.statistics(driver.now).models[0].retiring is False
    driver.take(driver.scheduler.session_lost(other, driver.now))
    assert there(driver) == [OTHER]


def test_a_model_outlives_a_vanished_client_while_a_batch_looks_at_its_frame() -> None:
    """Nobody waits for the vectors, but the engine still writes them."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a", 2)
    driver.stage("a")
    retire(driver)
    lose_client(driver, session)
    assert gone(driver) == []
    driver.finish()
    assert driver.effects[-2:] == [Release(payload="a", vectors=True), Retired(model=ONLY)]


def test_a_model_outlives_a_vanished_client_while_its_frame_is_staged() -> None:
    """And goes when the decoder is done with it, in whatever way."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    retire(driver)
    lose_client(driver, session)
    assert gone(driver) == []
    driver.stage("a")
    assert gone(driver) == [ONLY]


def test_what_waits_does_not_keep_a_model() -> None:
    """Queued frames, crops in a batch that lingers and crops that must run alone go with their client, and so does it;
    no timer is left.
    """
    driver = Driver(some_limits(linger_ns=50 * MS, staging_slots=1), models=[a_model(), a_model()])
    waits, runs = driver.open(some_terms(models=(ONLY,))), driver.open(some_terms(models=(OTHER,)))
    driver.send(waits, "lingers")
    driver.stage("lingers")
    send(driver, runs, "tried alone", 4, OTHER)
    driver.stage("tried alone")
    driver.fail()
    driver.send(waits, "queued")
    assert driver.running[0].model == OTHER
    retire(driver, ONLY)
    retire(driver, OTHER)
    driver.take(driver.scheduler.frame_staging_failed(driver.staging.pop("queued"), BROKEN, driver.now))
    lose_client(driver, waits)
    assert gone(driver) == [ONLY]
    lose_client(driver, runs)
    assert gone(driver) == [ONLY]
    driver.finish()
    assert gone(driver) == [ONLY, OTHER]
    assert driver.scheduler.statistics(driver.now).timers == 0


def test_a_frame_of_two_models_keeps_only_those_that_it_needs() -> None:
    """A session that is gone keeps neither."""
    driver = Driver(models=[a_model(), a_model(), a_model()])
    third = ModelIndex(2)
    session = driver.open(some_terms(models=(*BOTH, third)))
    send(driver, session, "a", 2, *BOTH)
    driver.stage("a")
    for model in (*BOTH, third):
        retire(driver, model)
    lose_client(driver, session)
    assert gone(driver) == [third]
    driver.finish()
    assert gone(driver) == [third]
    driver.finish()
    assert sorted(gone(driver)) == [*BOTH, third]


def test_several_models_may_go_in_one_event() -> None:
    """Each is told once."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(models=BOTH))
    for model in BOTH:
        retire(driver, model)
    lose_client(driver, session)
    assert sorted(gone(driver)) == list(BOTH)
    assert there(driver) == []


@pytest.mark.parametrize("again", ["while it retires", "when it is gone"])
def test_retiring_twice_is_harmless(again: str) -> None:
    """One Retired comes."""
    driver = Driver()
    session = driver.open(some_terms())
    retire(driver)
    if again == "while it retires":
        retire(driver)
    lose_client(driver, session)
    retire(driver)
    assert gone(driver) == [ONLY]


def test_retiring_a_model_that_never_was_is_a_mistake() -> None:
    """Of the caller."""
    driver = Driver()
    for index in (-1, 1):
        with pytest.raises(LookupError, match=f"model {index} was never added; there have been 1 so far"):
            driver.scheduler.retire_model(ModelIndex(index), driver.now)


# Lost engines.


def test_a_model_with_a_lost_engine_retires_like_any_other() -> None:
    """Its sessions are told for each frame, and it goes with the last of them."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.take(driver.scheduler.engine_lost(ONLY, "sticky", driver.now))
    retire(driver)
    driver.send(session, "a")
    assert driver.answered() == [("a", "engine_lost")]
    assert gone(driver) == []
    lose_client(driver, session)
    assert gone(driver) == [ONLY]


@pytest.mark.parametrize("retire_first", [False, True])
def test_a_batch_of_a_lost_engine_keeps_its_model(*, retire_first: bool) -> None:
    """A thread may still write into its frames; if the batch never comes back, the model never goes."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    driver.stage("a")
    if retire_first:
        retire(driver)
    driver.wait(1_000 * MS)
    assert driver.seen(EngineDied) == [EngineDied(model=ONLY, message="a batch has not come back for 1 s", running=1)]
    retire(driver)
    driver.write(session)
    lose_client(driver, session)
    driver.wait(60_000 * MS)
    assert (gone(driver), driver.released) == ([], [])
    driver.finish()
    assert (gone(driver), driver.released) == ([ONLY], ["a"])


# What comes late, and what is left.


def test_what_comes_for_a_model_that_is_gone_is_ignored() -> None:
    """A thread may be late, or say something twice."""
    driver = Driver()
    session = driver.open(some_terms())
    driver.send(session, "a")
    driver.stage("a")
    batch = driver.running[0].batch
    driver.finish()
    lose_client(driver, session)
    retire(driver)
    newer = driver.scheduler.add_model(a_model())
    scheduler, now = driver.scheduler, driver.now
    assert scheduler.batch_done(ONLY, batch, now) == []
    assert scheduler.batch_failed(ONLY, batch, "late", now) == []
    assert scheduler.engine_lost(ONLY, "late", now) == []
    assert scheduler.batch_done(ModelIndex(99), BatchKey(99), now) == []
    assert scheduler.on_timer(now + 10**12) == []
    assert [(model.index, model.lost) for model in scheduler.statistics(now).models] == [(newer, False)]


def test_ten_thousand_reloads_leave_nothing_behind() -> None:
    """On cores and on devices, with sessions, frames, lingering batches and lost engines: nothing is larger after."""
    scheduler: Scheduler[str] = Scheduler(some_limits(linger_ns=MS))

    def reload(cycle: int) -> None:
        model = scheduler.add_model(a_model(cores=cycle % 2))
        session = scheduler.open_session(some_terms(f"camera {cycle}", models=(model,)))
        now = START_NS + cycle * MS
        arrived = scheduler.frame_arrived(session, a_request(1, 2, models=(model,)), "a", now)
        (key,) = (effect.frame for effect in arrived if isinstance(effect, Stage))
        scheduler.frame_staged(key, now)
        if cycle % 3:  # in the other cycles the batch still lingers
            now += MS
            (run,) = (effect for effect in scheduler.on_timer(now) if isinstance(effect, Run))
            if cycle % 5 == 0:
                scheduler.engine_lost(model, "lost", now)
            scheduler.batch_done(model, run.batch, now)
        assert scheduler.retire_model(model, now) == []
        assert scheduler.session_lost(session, now)[-1] == Retired(model=model)

    for cycle in range(200):
        reload(cycle)
    before = sizes(scheduler)
    for cycle in range(200, 10_000):
        reload(cycle)
    after = sizes(scheduler)
    assert max(before.pop("_timers._heap"), after.pop("_timers._heap")) < 200  # it holds some that were cancelled
    assert after == before
    assert after["_fleet.batchers"] == after["_fleet.sharing"] == after["_fleet.on_devices"] == 0


def test_the_batcher_of_a_model_that_is_gone_is_let_go_at_once() -> None:
    """Not at the next garbage collection: it may hold much."""
    driver = Driver()
    batcher = weakref.ref(driver.scheduler._fleet.batchers[ONLY])
    gc.disable()
    try:
        retire(driver)
        assert batcher() is None
    finally:
        gc.enable()


# What can be seen.


def test_the_statistics_name_each_model() -> None:
    """By its index and its name, and say whether it retires."""
    driver = Driver(models=TWO_MODELS)
    session = driver.open(some_terms(models=BOTH))
    send(driver, session, "a", 6, OTHER)
    driver.stage("a")
    retire(driver, OTHER)
    first, other = driver.scheduler.statistics(driver.now).models
    assert [first.name, other.name] == [terms.name for terms in TWO_MODELS]
    assert (first.index, first.ready_crops, first.running_batches, first.running_crops) == (ONLY, 0, 0, 0)
    assert (other.index, other.ready_crops, other.running_batches, other.running_crops) == (OTHER, 2, 1, 4)
    assert (first.lost, first.retiring, other.lost, other.retiring) == (False, False, False, True)


def test_a_session_tells_what_it_has_open() -> None:
    """Frames, what of the window is used, answers that are not taken, whether it is read, whether it is drained."""
    driver = Driver()
    session = driver.open(some_terms(frames=2, window_bytes=1_000))
    expected = SessionStatistics(
        open_frames=0,
        unwritten_answers=0,
        window_frames=0,
        window_bytes=0,
        window=Window(frames=2, bytes=1_000),
        readable=True,
        draining=False,
    )
    assert driver.scheduler.session_statistics(session) == expected
    driver.send(session, "a", size=300)
    driver.send(session, "b", size=200)
    driver.stage("a")
    driver.finish()
    now = driver.scheduler.session_statistics(session)
    assert now is not None
    assert (now.open_frames, now.unwritten_answers, now.readable) == (1, 1, False)
    assert (now.window_frames, now.window_bytes) == (2, 500)
    driver.take(driver.scheduler.drain(session, DrainReason.SHUTDOWN, driver.now + MS, driver.now))
    driver.write(session)
    now = driver.scheduler.session_statistics(session)
    assert now is not None
    assert (now.open_frames, now.unwritten_answers, now.window_bytes) == (1, 0, 200)
    assert (now.readable, now.draining) == (True, True)


def test_a_session_that_is_over_tells_nothing() -> None:
    """Nor does one that never was."""
    driver = Driver()
    session = driver.open(some_terms())
    lose_client(driver, session)
    assert driver.scheduler.session_statistics(session) is None
    assert driver.seen(Answer) == []


def sizes(thing: object, name: str = "", seen: set[int] | None = None) -> dict[str, int]:
    """The size of every container within the core's objects, by the way that leads there."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | Enum | None):
        return {}
    seen.add(id(thing))
    found = {name: len(thing)} if isinstance(thing, Sized) else {}
    slots = {slot: getattr(thing, slot, None) for slot in getattr(thing, "__slots__", ())}
    inside: dict[object, object] = getattr(thing, "__dict__", {}) | slots
    if isinstance(thing, dict):
        inside |= thing
    for key, value in inside.items():
        found |= sizes(value, f"{name}.{key}".lstrip("."), seen)
    return found
