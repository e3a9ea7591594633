"""Which crops go next."""

from __future__ import annotations

from reidstream_server.core.batcher import Batch, Batcher
from reidstream_server.core.state import FrameState, Portion
from reidstream_server.core.terms import BatchKey, ModelTerms
from reidstream_server.core.timers import TimerKind, Timers

from .builders import MS, START_NS, a_frame, a_session, some_limits

LINGER_NS = 5 * MS


def a_batcher(*, max_batch: int = 4, slots: int = 2, stagers: int = 1, linger_ns: int = 0) -> Batcher[str]:
    terms = ModelTerms(name="osnet", max_batch=max_batch, slots=slots, cores=1)
    return Batcher(terms, some_limits(staging_slots=stagers, linger_ns=linger_ns))


def crop(frame: FrameState[str], index: int) -> Portion[str]:
    return Portion(frame, frame.payload or "", (index,))


def add(batcher: Batcher[str], frame: FrameState[str], now: int = START_NS) -> None:
    batcher.add(frame, frame.payload or "", range(frame.boxes), now)


def run(batcher: Batcher[str], batch: list[Portion[str]]) -> None:
    key = BatchKey(len(batcher.running) + 1)
    timeout = Timers().add(START_NS, TimerKind.BATCH_TIMEOUT, key)
    batcher.running[key] = Batch(
        key=key, portions=tuple(batch), size=len(indices(batch)), started_ns=0, timeout=timeout
    )


def is_hungry(batcher: Batcher[str]) -> bool:
    """Asked anew: a type checker takes a property for a value that stays."""
    return batcher.hungry(aside=False)


def indices(batch: list[Portion[str]]) -> list[int]:
    return [index for portion in batch for index in portion.indices]


def test_a_free_slot_takes_what_is_there() -> None:
    """At once, however little; and nothing when there is nothing."""
    batcher = a_batcher()
    assert batcher.take(START_NS) == []
    add(batcher, a_frame(a_session(), 2))
    assert indices(batcher.take(START_NS)) == [0, 1]
    assert batcher.take(START_NS) == []


def test_a_frame_with_more_crops_than_a_batch_is_split() -> None:
    """In order, as many at a time as the engine takes."""
    batcher = a_batcher(max_batch=4)
    add(batcher, a_frame(a_session(), 10))
    assert [indices(batcher.take(START_NS)) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_batch_mixes_cameras() -> None:
    """In turns of the quantum."""
    batcher = a_batcher(max_batch=8)
    one, other = a_frame(a_session("one"), 6), a_frame(a_session("other"), 6)
    add(batcher, one)
    add(batcher, other)
    assert [(portion.frame, portion.indices) for portion in batcher.take(START_NS)] == [
        (one, (0, 1, 2, 3)),
        (other, (0, 1, 2, 3)),
    ]


def test_no_more_batches_than_slots() -> None:
    """Slot first, batch second: what comes later still gets into the next batch."""
    batcher = a_batcher(max_batch=1, slots=2)
    add(batcher, a_frame(a_session(), 3))
    for _ in range(2):
        run(batcher, batcher.take(START_NS))
    assert batcher.take(START_NS) == []
    assert batcher.ready_crops == 1


def test_a_lost_engine_gets_nothing() -> None:
    """And asks for nothing."""
    batcher = a_batcher()
    add(batcher, a_frame(a_session(), 3))
    batcher.lost = "gone"
    assert batcher.take(START_NS) == []
    assert not is_hungry(batcher)


def test_hunger_ends_when_all_slots_can_be_filled() -> None:
    """Crops that are being staged count as much as those that are ready or are to run alone."""
    batcher = a_batcher(max_batch=4, slots=2)
    assert is_hungry(batcher)
    add(batcher, a_frame(a_session(), 4))
    batcher.staging_begins(3, aside=False)
    assert is_hungry(batcher)
    batcher.retry_alone(crop(a_frame(a_session()), 0))
    assert not is_hungry(batcher)
    batcher.staging_ends(3, aside=False)
    assert is_hungry(batcher)


def test_one_frame_does_not_feed_an_engine_for_all_stagers() -> None:
    """However many crops it has: as many frames must be in sight as can be staged at a time."""
    batcher = a_batcher(max_batch=4, slots=2, stagers=2)
    batcher.staging_begins(100, aside=False)
    assert is_hungry(batcher)
    batcher.staging_begins(1, aside=False)
    assert not is_hungry(batcher)
    batcher.staging_ends(100, aside=False)
    add(batcher, a_frame(a_session(), 100))
    assert not is_hungry(batcher)


def test_a_ready_frame_is_in_sight_until_half_of_it_has_run() -> None:
    """Frames of several cameras are eaten in turns; the next ones must be staged before all of them are gone."""
    batcher = a_batcher(max_batch=1, slots=1, stagers=2)
    for name in ("one", "other"):
        add(batcher, a_frame(a_session(name), 8))
    for _ in range(3):
        assert not is_hungry(batcher)
        batcher.take(START_NS)
    assert not is_hungry(batcher)
    batcher.take(START_NS)
    assert is_hungry(batcher)


def test_a_frame_that_leaves_is_not_in_sight() -> None:
    """Whether all of it was there, less than half, or nothing any more; and only once."""
    batcher = a_batcher(max_batch=3, slots=1, stagers=3)
    frames = [a_frame(a_session(name), 4) for name in ("one", "two", "three", "four", "five")]
    entries = [batcher.add(frame, "", range(4), START_NS) for frame in frames]
    batcher.take(START_NS)
    assert not is_hungry(batcher)
    batcher.cancel(entries[0])
    assert not is_hungry(batcher)
    for entry in entries[1:3]:
        batcher.cancel(entry)
        batcher.cancel(entry)
    assert is_hungry(batcher)
    batcher.staging_begins(1, aside=False)
    assert not is_hungry(batcher)


def test_crops_of_a_failed_batch_go_first_and_alone() -> None:
    """One by one, before anything else."""
    batcher = a_batcher()
    frame = a_frame(a_session(), 2)
    for index in range(2):
        batcher.retry_alone(crop(frame, index))
    add(batcher, a_frame(a_session("other"), 3))
    assert [indices(batcher.take(START_NS)) for _ in range(3)] == [[0], [1], [0, 1, 2]]


def test_a_frame_that_is_given_up_leaves() -> None:
    """Its ready crops are cancelled one by one, those to run alone together; nothing of other frames is."""
    batcher = a_batcher()
    frame, other = a_frame(a_session(), 2), a_frame(a_session("other"), 2)
    entry = batcher.add(frame, "", (0,), START_NS)
    batcher.retry_alone(crop(frame, 1))
    batcher.retry_alone(crop(other, 0))
    batcher.cancel(entry)
    batcher.cancel_alone(frame)
    assert batcher.ready_crops == 1
    assert [portion.frame for portion in batcher.take(START_NS)] == [other]


def test_a_batch_lingers_from_its_first_crop() -> None:
    """Until the time is over or the batch is full, whichever is first; crops to run alone do not wait."""
    batcher = a_batcher(max_batch=4, linger_ns=LINGER_NS)
    assert batcher.lingers_until() is None
    add(batcher, a_frame(a_session(), 2), START_NS)
    add(batcher, a_frame(a_session("other"), 1), START_NS + LINGER_NS - 1)
    assert batcher.lingers_until() == START_NS + LINGER_NS
    assert batcher.take(START_NS + LINGER_NS - 1) == []
    assert len(indices(batcher.take(START_NS + LINGER_NS))) == 3
    add(batcher, a_frame(a_session(), 4), START_NS)
    assert batcher.lingers_until() is None
    assert len(indices(batcher.take(START_NS))) == 4
    add(batcher, a_frame(a_session(), 1), START_NS)
    alone = a_frame(a_session("other"))
    batcher.retry_alone(crop(alone, 0))
    assert [portion.frame for portion in batcher.take(START_NS)] == [alone]
