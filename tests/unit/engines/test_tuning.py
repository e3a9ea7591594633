"""Tuning: the rule on made-up figures, the measuring on an engine of known cost, and once for real."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable
from itertools import groupby

import pytest

from reidstream_engines import default_model
from reidstream_engines.cores import usable_cores
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import ModelError
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_engines.selftest import noise_boxes
from reidstream_engines.tuning import FixedFigures, RunPlan, Tuning, candidates, choose, default_plan, tune
from tests.support.patience import HANG_S


def plan(threads: int, slots: int, batch: int) -> RunPlan:
    return RunPlan(threads_per_call=threads, slots=slots, max_batch=batch)


class Clock(threading.local):
    """A time for each thread, so that slots that sleep beside each other sleep at the same time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class SharedClock:
    """One time for all threads; exact where only one of them sleeps."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Engines:
    """Opens fake engines of a known cost, and counts those that are open."""

    def __init__(self, script: Callable[[RunPlan], FakeScript]) -> None:
        self._script = script
        self.asked: list[RunPlan] = []
        self.open = self.most_open = 0

    def __call__(self, asked: RunPlan) -> FakeEngine:
        self.asked.append(asked)
        engine = Closing(self, asked, self._script(asked))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        return engine


class Closing(FakeEngine):
    def __init__(self, engines: Engines, asked: RunPlan, script: FakeScript) -> None:
        super().__init__(max_batch=asked.max_batch, slots=asked.slots, script=script)
        self._engines = engines

    def close(self) -> None:
        self._engines.open -= 1


def tuned(
    engines: Engines,
    clock: Callable[[], float],
    *,
    cores: int = 1,
    seconds: float = 2.0,
    fixed_batch: int | None = None,
    **fixed: int | None,
) -> Tuning:
    """The result, with every engine closed and no frame left staged."""
    stager = FakeStager()
    found = tune(
        engines,
        stager,
        fixed=FixedFigures(**fixed),
        cores=cores,
        seconds=seconds,
        fixed_batch=fixed_batch,
        clock=clock,
    )
    assert (engines.open, stager.open_frames) == (0, 0)
    return found


SIMPLE, LARGER, LARGEST, THREADED = plan(1, 2, 4), plan(1, 2, 8), plan(1, 2, 16), plan(2, 1, 4)


@pytest.mark.parametrize(
    ("simple", "other", "beaten"),
    [
        ([100.0], [190.0], False),  # one round proves little
        ([100.0], [210.0], True),
        ([100.0] * 2, [145.0] * 2, False),
        ([100.0] * 2, [155.0] * 2, True),
        ([100.0] * 4, [124.0] * 4, False),
        ([100.0] * 4, [126.0] * 4, True),
        ([100.0] * 10, [109.0] * 10, False),
        ([100.0] * 10, [111.0] * 10, True),
        ([100.0] * 10, [90.0] * 10, False),
        ([100.0, 50.0, 100.0, 10.0], [130.0, 65.0, 130.0, 13.0], True),  # rounds that were slow for both
        ([100.0] * 4, [140.0, 400.0, 140.0, 99.0], False),  # clearly faster, but in three rounds of four
        ([100.0] * 5, [130.0, 130.0, 130.0, 130.0, 10.0], True),  # one round that was disturbed does not count
        ([100.0] * 5, [130.0, 130.0, 130.0, 10.0, 10.0], False),  # two do
        ([100.0] * 4, [190.0], False),  # measured once only
        ([100.0] * 4, [210.0], True),
    ],
)
@pytest.mark.parametrize("simpler", [(SIMPLE, LARGER), (SIMPLE, THREADED), (LARGEST, THREADED)])
def test_a_plan_is_beaten_by_a_clear_lead_in_most_rounds(
    simple: list[float], other: list[float], *, beaten: bool, simpler: tuple[RunPlan, RunPlan]
) -> None:
    """Of more than 1/n in the median of n rounds, and ahead in more than three rounds of four."""
    first, second = simpler
    assert choose({first: simple, second: other}) == (second if beaten else first)
    assert choose({second: other, first: simple}) == (second if beaten else first)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({LARGER: 100.0}, LARGER),
        ({SIMPLE: 50.0, LARGER: 95.0, LARGEST: 100.0}, LARGER),  # not the fastest: the simplest that none beats
        ({SIMPLE: 100.0, LARGER: 109.0, LARGEST: 118.0}, LARGER),
        ({LARGEST: 100.0, THREADED: 105.0}, LARGEST),  # threads count before batches
        ({LARGEST: 100.0, THREADED: 150.0}, THREADED),
    ],
)
def test_the_simplest_plan_that_no_other_beats(rates: dict[RunPlan, float], best: RunPlan) -> None:
    """Whatever the order in which they were measured."""
    rounds = {key: [rate] * 10 for key, rate in rates.items()}
    assert choose(rounds) == best
    assert choose(dict(reversed(rounds.items()))) == best


def test_plans_that_beat_each_other_in_a_circle() -> None:
    """Then the simplest one is taken; nothing hangs and nothing fails."""
    plans = [plan(1, 2, size) for size in (4, 8, 12, 16, 20)]
    rounds = {key: [1.2 ** ((index + number) % 5) for number in range(5)] for index, key in enumerate(plans)}
    assert choose(rounds) == plans[0]


@pytest.mark.parametrize("start", range(10))
def test_a_noisy_machine_gives_the_same_answer_at_every_start(start: int) -> None:
    """Plans that are nearly as fast, each disturbed now and then by half, and the whole machine slowly: the answer
    stays. One that is really faster is found all the same.
    """
    rng = random.Random(start)  # noqa: S311 - noise
    true = {SIMPLE: 100.0, LARGER: 102.0, LARGEST: 103.0, THREADED: 90.0}

    def rounds(**faster: float) -> dict[RunPlan, list[float]]:
        rates = true | {LARGER: faster.get("larger", true[LARGER])}
        drift = [1.0 - 0.05 * number for number in range(10)]
        disturbed = {key: [0.5 if rng.random() < 0.05 else rng.uniform(0.95, 1.0) for _ in drift] for key in rates}
        return {
            key: [rate * slow * own for slow, own in zip(drift, disturbed[key], strict=True)]
            for key, rate in rates.items()
        }

    assert choose(rounds()) == SIMPLE
    assert choose(rounds(larger=150.0)) == LARGER


@pytest.mark.parametrize(
    ("cores", "shapes"),
    [
        (1, [(1, 1)]),
        (2, [(1, 2), (2, 1)]),
        (6, [(1, 6), (2, 3), (4, 1)]),
        (64, [(1, 64), (2, 32), (4, 16), (8, 8)]),
    ],
)
def test_every_plan_fills_the_cores(cores: int, shapes: list[tuple[int, int]]) -> None:
    """And asks for no more than there are."""
    plans = candidates(FixedFigures(), cores)
    assert list(dict.fromkeys((item.threads_per_call, item.slots) for item in plans)) == shapes
    assert all(item.threads_per_call * item.slots <= cores for item in plans)
    assert {item.max_batch for item in plans} == {4, 8, 16}


@pytest.mark.parametrize(
    ("fixed", "plans", "default"),
    [
        (FixedFigures(), None, (8, 2, 8)),
        (FixedFigures(threads_per_call=4, max_batch=3), [(4, 4, 3)], (4, 4, 3)),
        (FixedFigures(slots=3, max_batch=3), [(5, 3, 3)], (5, 3, 3)),
        (FixedFigures(slots=99, max_batch=3), [(1, 99, 3)], (1, 99, 3)),
        (FixedFigures(threads_per_call=32, max_batch=3), [(32, 1, 3)], (32, 1, 3)),
        (FixedFigures(threads_per_call=9, slots=9), [(9, 9, 4), (9, 9, 8), (9, 9, 16)], (9, 9, 8)),
        (FixedFigures(max_batch=5), [(1, 16, 5), (2, 8, 5), (4, 4, 5), (8, 2, 5)], (8, 2, 5)),
    ],
)
def test_what_is_decided_stays(
    fixed: FixedFigures, plans: list[tuple[int, int, int]] | None, default: tuple[int, int, int]
) -> None:
    """On 16 cores, measured or not, even if it makes no sense there."""
    assert default_plan(fixed, 16) == plan(*default)
    if plans is not None:
        assert candidates(fixed, 16) == tuple(plan(*key) for key in plans)


def test_nothing_is_opened_where_nothing_is_measured() -> None:
    """No time, or no choice."""
    engines = Engines(lambda _: FakeScript())
    assert tuned(engines, Clock(), cores=4, seconds=0) == Tuning(plan=plan(2, 2, 8))
    assert tuned(engines, Clock(), cores=4, threads_per_call=1, max_batch=3) == Tuning(plan=plan(1, 4, 3))
    assert engines.asked == []


def test_an_engine_of_known_cost() -> None:
    """10 ms a batch and 1 ms a crop: crops/s of each plan, each engine opened once, for its largest batch."""
    clock = SharedClock()
    engines = Engines(lambda _: FakeScript(seconds_per_batch=0.01, seconds_per_crop=0.001, sleep=clock.sleep))
    found = tuned(engines, clock)
    expected = {plan(1, 1, size): size / (0.01 + 0.001 * size) for size in (4, 8, 16)}
    assert found.crops_per_s == pytest.approx(expected)
    assert (found.plan, found.left_out) == (plan(1, 1, 16), {})
    assert engines.asked == [plan(1, 1, 16)]


def test_slots_add_up() -> None:
    """Four slots of one thread serve four times as much; here threads within a call gain little."""
    clock = Clock()
    engines = Engines(lambda asked: FakeScript(seconds_per_crop=0.004 / asked.threads_per_call**0.5, sleep=clock.sleep))
    found = tuned(engines, clock, cores=4)
    assert found.crops_per_s == pytest.approx(
        {plan(t, 4 // t, size): 250 * t**0.5 * (4 // t) for t in (1, 2, 4) for size in (4, 8, 16)}
    )
    assert found.plan == plan(1, 4, 4)


def test_slots_are_busy_at_the_same_time() -> None:
    """A batch that waits for another slot's batch comes back."""
    together = threading.Barrier(2, timeout=HANG_S)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        together.wait()

    found = tuned(
        Engines(lambda _: FakeScript(seconds_per_batch=0.02, sleep=sleep)), clock, cores=2, slots=2, seconds=2.0
    )
    assert found.crops_per_s == pytest.approx({plan(1, 2, size): 2 * size / 0.02 for size in (4, 8, 16)})


def test_a_disturbance_does_not_count() -> None:
    """Neither a few slow batches nor whole slow rounds: the median of the rounds is the figure."""
    clock = SharedClock()
    batches = iter(range(100_000))

    def sleep(seconds: float) -> None:
        number = next(batches)
        clock.sleep(seconds * (10 if number < 12 or number % 7 == 0 else 1))

    found = tuned(Engines(lambda _: FakeScript(seconds_per_crop=0.0001, sleep=sleep)), clock)
    assert found.crops_per_s == pytest.approx({plan(1, 1, size): 10_000 for size in (4, 8, 16)})


def test_plans_are_measured_in_turn() -> None:
    """In every round each of them once, to and fro; engines of all shapes are open meanwhile."""
    clock = SharedClock()
    order: list[int] = []

    def script(asked: RunPlan) -> FakeScript:
        def sleep(seconds: float) -> None:
            order.append(asked.threads_per_call)
            clock.sleep(seconds)

        return FakeScript(seconds_per_batch=0.05, sleep=sleep)

    engines = Engines(script)
    tuned(engines, clock, cores=2, slots=None, max_batch=4)
    assert engines.most_open == 2
    turns = [key for key, _ in groupby(order)]
    assert turns[:3] == [1, 2, 1]
    assert len(turns) == 11  # ten rounds: of two that follow each other, the last and the first turn are one


def test_a_network_of_a_fixed_batch_size_gets_batches_of_it() -> None:
    """Sixteen crops cost as much as one: smaller batches would waste the rest, so none is tried."""
    clock = SharedClock()
    engines = Engines(lambda _: FakeScript(seconds_per_batch=0.04, sleep=clock.sleep))
    found = tuned(engines, clock, cores=2, fixed_batch=16)
    assert set(found.crops_per_s) == {plan(1, 2, 16), plan(2, 1, 16)}
    assert found.plan.max_batch == 16


@pytest.mark.parametrize(
    ("fixed_batch", "sizes", "default"),
    [
        (None, {4, 8, 16}, 8),
        (1, {4, 8, 16}, 8),
        (2, {4, 8, 16}, 8),
        (3, {6, 9, 18}, 9),
        (8, {8, 16}, 8),
        (12, {12, 24}, 12),
        (16, {16}, 16),
        (32, {32}, 32),
    ],
)
def test_batches_are_multiples_of_the_networks(fixed_batch: int | None, sizes: set[int], default: int) -> None:
    """Measured or not; what the operator has set stays."""
    assert {item.max_batch for item in candidates(FixedFigures(), 2, fixed_batch)} == sizes
    assert default_plan(FixedFigures(), 2, fixed_batch).max_batch == default
    assert {item.max_batch for item in candidates(FixedFigures(max_batch=5), 2, fixed_batch)} == {5}
    assert default_plan(FixedFigures(max_batch=5), 2, fixed_batch).max_batch == 5


def test_progress_is_told_up_to_the_end() -> None:
    """It grows, and ends at 1 where all rounds were measured."""
    clock = SharedClock()
    told: list[float] = []
    engines = Engines(lambda _: FakeScript(seconds_per_batch=0.001, sleep=clock.sleep))
    tune(
        engines,
        FakeStager(),
        fixed=FixedFigures(),
        cores=1,
        seconds=60.0,
        clock=clock,
        progress=told.append,
    )
    assert told == sorted(told)
    assert (len(told), told[-1]) == (30, 1.0)


def test_plans_that_fail_are_left_out() -> None:
    """An engine that cannot be opened, and one that fails on batches of 8 and more; the others are measured."""
    clock = Clock()
    fifth = noise_boxes(5)[4]

    def is_fifth(crop: Crop) -> bool:
        return isinstance(crop, BoxCrop) and crop.box == fifth

    def script(asked: RunPlan) -> FakeScript:
        if asked.threads_per_call == 1:
            raise ModelError("not today")
        return FakeScript(seconds_per_crop=0.001, sleep=clock.sleep, poison=is_fifth)

    found = tuned(Engines(script), clock, cores=2)
    assert found.crops_per_s == pytest.approx({plan(2, 1, 4): 1000})
    assert found.plan == plan(2, 1, 4)
    assert {item: reason.split(" in")[0] for item, reason in found.left_out.items()} == {
        **{plan(1, 2, size): "not today" for size in (4, 8, 16)},
        **{plan(2, 1, size): "poisoned crops" for size in (8, 16)},
    }


def test_a_plan_that_fails_later_is_left_out_too() -> None:
    """What worked once and then did not is no plan to serve with."""
    clock = SharedClock()
    engines = Engines(lambda _: FakeScript(seconds_per_batch=0.03, sleep=clock.sleep, failing_batches=frozenset({6})))
    found = tuned(engines, clock)  # two batches of each size in the first round, then one of each, the largest first
    assert found.left_out == {plan(1, 1, 16): "batch 6 fails by script"}
    assert found.plan == plan(1, 1, 8)


def test_where_all_fail_it_is_the_default_plan() -> None:
    """Whoever opens that one learns what is wrong."""
    clock = SharedClock()
    found = tuned(Engines(lambda _: FakeScript(lost_at=0)), clock, cores=2)
    assert (found.plan, found.crops_per_s) == (plan(1, 2, 8), {})
    assert set(found.left_out.values()) == {"lost by script"}


def test_a_slow_network_is_given_up_in_time() -> None:
    """A second a crop: the first plan is measured once, and 8 s are over instead of 2."""
    clock = SharedClock()
    found = tuned(Engines(lambda _: FakeScript(seconds_per_crop=1.0, sleep=clock.sleep)), clock)
    assert found.crops_per_s == {plan(1, 1, 4): 1.0}
    assert found.left_out == {plan(1, 1, size): "no time was left" for size in (8, 16)}
    assert clock.now == 8.0


def test_the_embedded_model_for_real() -> None:
    """On this machine's cores: whatever is chosen was measured."""
    found = tune(
        lambda asked: load_onnx(
            default_model.PATH, name=None, profile=None, options=OnnxOptions(**dataclasses.asdict(asked))
        ),
        CpuStager(),
        fixed=FixedFigures(),
        cores=usable_cores(),
        seconds=0.2,
    )
    assert found.plan in found.crops_per_s
    assert set(found.crops_per_s) | set(found.left_out) == set(candidates(FixedFigures(), usable_cores()))
    assert all(rate > 0 for rate in found.crops_per_s.values())
