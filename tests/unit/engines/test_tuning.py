"""Tuning: the rule on made-up figures, the measuring on an engine of known cost, and once for real."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

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
        self.open = 0

    def __call__(self, asked: RunPlan) -> FakeEngine:
        self.asked.append(asked)
        engine = Closing(self, asked, self._script(asked))
        self.open += 1
        return engine


class Closing(FakeEngine):
    def __init__(self, engines: Engines, asked: RunPlan, script: FakeScript) -> None:
        super().__init__(max_batch=asked.max_batch, slots=asked.slots, script=script)
        self._engines = engines

    def close(self) -> None:
        self._engines.open -= 1


def tuned(
    engines: Engines, clock: Callable[[], float], *, cores: int = 1, seconds: float = 2.0, **fixed: int
) -> Tuning:
    """The result, with every engine closed and no frame left staged."""
    stager = FakeStager()
    found = tune(engines, stager, fixed=FixedFigures(**fixed), cores=cores, seconds=seconds, clock=clock)
    assert (engines.open, stager.open_frames) == (0, 0)
    return found


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ({(1, 2, 4): 100.0}, (1, 2, 4)),
        ({(1, 2, 4): 100.0, (1, 2, 8): 112.0}, (1, 2, 8)),  # a larger batch that pays for itself
        ({(1, 2, 4): 100.0, (1, 2, 8): 110.0}, (1, 2, 4)),  # and one that does not
        ({(1, 2, 16): 100.0, (2, 1, 4): 105.0}, (1, 2, 16)),  # nor do threads, before batches are looked at
        ({(1, 2, 16): 100.0, (2, 1, 8): 150.0, (2, 1, 4): 140.0}, (2, 1, 4)),
        ({(1, 2, 4): 50.0, (1, 2, 8): 95.0, (1, 2, 16): 100.0}, (1, 2, 8)),  # the tie is with the best alone
    ],
)
def test_the_rule(figures: dict[tuple[int, int, int], float], best: tuple[int, int, int]) -> None:
    """The fastest; what is within a tenth of it has the same speed, and fewer threads and smaller batches win."""
    measured = {plan(*key): rate for key, rate in figures.items()}
    assert choose(measured) == plan(*best)
    assert choose(dict(reversed(measured.items()))) == plan(*best)


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
    """Neither a few slow batches nor a whole slow look: the best look's median is the figure."""
    clock = SharedClock()
    batches = iter(range(10_000))

    def sleep(seconds: float) -> None:
        number = next(batches)
        clock.sleep(seconds * (10 if number < 12 or number % 7 == 0 else 1))

    found = tuned(Engines(lambda _: FakeScript(seconds_per_crop=0.0001, sleep=sleep)), clock)
    assert found.crops_per_s == pytest.approx({plan(1, 1, size): 10_000 for size in (4, 8, 16)})


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
    engines = Engines(lambda _: FakeScript(seconds_per_batch=0.03, sleep=clock.sleep, failing_batches=frozenset({8})))
    found = tuned(engines, clock)  # two batches of each size in the first round, then one of each
    assert found.left_out == {plan(1, 1, 16): "batch 8 fails by script"}
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


def test_engines_for_which_no_time_is_left_are_not_opened() -> None:
    """The first one always is."""
    clock = SharedClock()
    engines = Engines(lambda _: FakeScript(seconds_per_crop=1.0, sleep=clock.sleep))
    found = tuned(engines, clock, cores=2)
    assert engines.asked == [plan(1, 2, 16)]
    assert set(found.crops_per_s) == {plan(1, 2, 4)}
    assert found.left_out[plan(2, 1, 4)] == "no time was left"


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
