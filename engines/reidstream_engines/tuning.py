"""Finds out how a model runs best on this machine: threads per call, calls at a time, crops per call.

Why measured: the best plan depends on the network, the cores and their cache. On two cores the embedded network serves
half as many crops with two threads a call as with one. Whole engines are measured through their Protocol, with the
preparation of the crops, on as many cores as the plan keeps busy. The rule that chooses sees only the figures.

Traps: other programs on the machine can only make a plan slower. So each plan is measured several times: the median
batch of a measurement counts, and the best measurement of a plan. Figures that are nearly the same count as the same.
More threads per call, or larger batches, must pay for themselves: threads leave cores idle at the end of a call, and
large batches make urgent crops wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median

from .errors import EnginesError
from .protocol import BoxCrop, Engine, Stager
from .selftest import noise, noise_boxes

_THREADS = (1, 2, 4, 8)
_SIZES = (4, 8, 16)
"""Not below 4: each batch costs a server some work, however small it is. Not above 16: cores then lose their cache."""

_ROUNDS = 3
_MEASUREMENT_S = 0.02  # and at least one batch
_SAME = 0.1  # on a machine that others use, two measurements of one plan differ by as much
_DEFAULT_SLOTS, _DEFAULT_BATCH = 2, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How a model is run: `slots` calls at a time, each of up to `max_batch` crops on `threads_per_call` threads."""

    threads_per_call: int
    slots: int
    max_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedFigures:
    """The figures that the operator has fixed; None is for the measurement to choose."""

    threads_per_call: int | None = None
    slots: int | None = None
    max_batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The plan that was chosen, and why. `crops_per_s`: of each plan that was measured. `left_out`: why the others were
    not.
    """

    plan: RunPlan
    crops_per_s: Mapping[RunPlan, float] = field(default_factory=dict)
    left_out: Mapping[RunPlan, str] = field(default_factory=dict)


def default_plan(fixed: FixedFigures, cores: int) -> RunPlan:
    """The plan without measuring: two calls at a time share the cores."""
    threads, slots = fixed.threads_per_call, fixed.slots
    if slots is None:
        slots = _DEFAULT_SLOTS if threads is None else max(1, cores // threads)
    return RunPlan(
        threads_per_call=threads or max(1, cores // slots), slots=slots, max_batch=fixed.max_batch or _DEFAULT_BATCH
    )


def candidates(fixed: FixedFigures, cores: int) -> tuple[RunPlan, ...]:
    """The plans worth measuring; only one if nothing is left to choose. Each fills the cores, and no more."""
    threads: Iterable[int]
    if fixed.threads_per_call is not None:
        threads = (fixed.threads_per_call,)
    elif fixed.slots is not None:
        threads = (max(1, cores // fixed.slots),)
    else:
        threads = (count for count in _THREADS if count <= max(1, cores))
    sizes = _SIZES if fixed.max_batch is None else (fixed.max_batch,)
    return tuple(
        RunPlan(threads_per_call=count, slots=fixed.slots or max(1, cores // count), max_batch=size)
        for count in threads
        for size in sizes
    )


def choose(crops_per_s: Mapping[RunPlan, float]) -> RunPlan:
    """The best plan. Of those within a tenth of the fastest: the fewest threads per call, then the smallest batch."""
    enough = max(crops_per_s.values()) * (1 - _SAME)
    fast = (plan for plan, rate in crops_per_s.items() if rate >= enough)
    return min(fast, key=lambda plan: (plan.threads_per_call, plan.max_batch))


def tune(
    open_engine: Callable[[RunPlan], Engine],
    stager: Stager,
    *,
    fixed: FixedFigures,
    cores: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """Measure the plans that `fixed` leaves open, for about `seconds`, and choose one. 0 seconds: the default plan.

    `open_engine` and the engines may raise EnginesError; such plans are left out. If no plan could be measured, the
    default plan is chosen. Blocks, and uses all cores. The first plan of each engine is always measured.
    """
    plans = candidates(fixed, cores)
    if not seconds:
        return Tuning(plan=default_plan(fixed, cores))
    if len(plans) == 1:
        return Tuning(plan=plans[0])
    found = _Measurements(clock)
    end = clock() + seconds
    boxes = noise_boxes(max(plan.max_batch for plan in plans))
    with stager.stage(noise(), boxes) as frame:
        crops = [BoxCrop(frame=frame, box=box) for box in boxes]
        engines = [tuple(group) for _, group in groupby(plans, key=lambda plan: (plan.threads_per_call, plan.slots))]
        for index, group in enumerate(engines):
            now = clock()
            if index and now >= end:
                break
            try:
                with closing(open_engine(group[-1])) as engine:
                    found.measure(engine, group, crops, now + (end - now) / (len(engines) - index))
            except EnginesError as error:
                found.failed |= dict.fromkeys(group, str(error))
    measured = {plan: rate for plan, rate in found.best.items() if plan not in found.failed}
    missed = {plan: "no time was left" for plan in plans if plan not in measured}
    return Tuning(
        plan=choose(measured) if measured else default_plan(fixed, cores),
        crops_per_s=measured,
        left_out=missed | found.failed,
    )


class _Measurements:
    """The figures so far. `best`: crops/s of a plan. `failed`: why a plan cannot run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.best: dict[RunPlan, float] = {}
        self.failed: dict[RunPlan, str] = {}

    def measure(self, engine: Engine, plans: Sequence[RunPlan], crops: Sequence[BoxCrop], end: float) -> None:
        """Measure every plan of one engine a few times, smaller batches first, until about `end`."""
        for _ in range(_ROUNDS):
            crop_s = 0.0  # seconds per crop of one slot, by the last measurement
            for plan in plans:
                new = plan not in self.best
                needed_s = max(_MEASUREMENT_S, crop_s * plan.max_batch)
                late = self._clock() + needed_s * (1 + new) > end
                if plan in self.failed or (late and not (new and plan == plans[0])):
                    continue
                try:
                    if new:
                        self._rate(engine, plan, crops, 0.0)  # the first batches of a size are slow
                    rate = self._rate(engine, plan, crops, _MEASUREMENT_S)
                except EnginesError as error:
                    self.failed[plan] = str(error)
                    continue
                self.best[plan] = max(rate, self.best.get(plan, 0.0))
                crop_s = plan.slots / rate

    def _rate(self, engine: Engine, plan: RunPlan, crops: Sequence[BoxCrop], seconds: float) -> float:
        """Crops/s of all slots together, each running one batch after the other for `seconds`."""
        batch = crops[: plan.max_batch]

        def loop() -> float:
            began = now = self._clock()
            times: list[float] = []
            while not times or now - began < seconds:
                engine.submit(batch).result()
                before, now = now, self._clock()
                times.append(now - before)
            return len(batch) / max(median(times), 1e-9)

        with ThreadPoolExecutor(plan.slots) as threads:
            return sum(future.result() for future in [threads.submit(loop) for _ in range(plan.slots)])
