"""Finds out how a model runs best on this machine: threads per call, calls at a time, crops per call.

Why measured: the best plan depends on the network, the cores and their cache. On two cores the embedded network serves
half as many crops with two threads a call as with one. Whole engines are measured through their Protocol, with the
preparation of the crops, on as many cores as the plan keeps busy. The rule that chooses sees only the figures.

The rule: *the simplest plan that no other beats*. Simple is few threads per call, then small batches: threads leave
cores idle at the end of a call, and large batches make urgent crops wait. Every round measures all plans in turn, up to
ten rounds. To beat a plan in n rounds, another one must be faster by more than 1/n of its speed in the median round
(by a tenth after ten, by half after two), and faster at all in more than three rounds of four.

Traps: other programs on the machine slow down now one plan, now another. So a plan's rate means nothing alone, and two
plans are compared round by round. And a network of one fixed batch size computes the whole of it for a single crop, so
plans take multiples of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median

from .errors import EnginesError
from .protocol import BoxCrop, Engine, Stager
from .selftest import noise, noise_boxes

_THREADS = (1, 2, 4, 8)
_SIZES = (4, 8, 16)
"""Not below 4: each batch costs a server some work, however small it is. Not above 16: cores then lose their cache."""

_ROUNDS = 10
_MEASUREMENT_S = 0.02  # and at least one batch
_WINS = 0.75
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
    """The plan that was chosen, and why. `crops_per_s`: of each plan that was measured, in its median round.
    `left_out`: why the others were not. `remembered`: it was measured at an earlier start.
    """

    plan: RunPlan
    crops_per_s: Mapping[RunPlan, float] = field(default_factory=dict)
    left_out: Mapping[RunPlan, str] = field(default_factory=dict)
    remembered: bool = False


def default_plan(fixed: FixedFigures, cores: int, fixed_batch: int | None = None) -> RunPlan:
    """The plan without measuring: two calls at a time share the cores. `fixed_batch`: as in `candidates`."""
    threads, slots = fixed.threads_per_call, fixed.slots
    if slots is None:
        slots = _DEFAULT_SLOTS if threads is None else max(1, cores // threads)
    return RunPlan(
        threads_per_call=threads or max(1, cores // slots),
        slots=slots,
        max_batch=fixed.max_batch or _filled(_DEFAULT_BATCH, fixed_batch),
    )


def candidates(fixed: FixedFigures, cores: int, fixed_batch: int | None = None) -> tuple[RunPlan, ...]:
    """The plans worth measuring, the simplest first; only one if nothing is left to choose. Each fills the cores, and
    no more. `fixed_batch`: the only batch size that the network takes; None if it takes any.
    """
    threads: Iterable[int]
    if fixed.threads_per_call is not None:
        threads = (fixed.threads_per_call,)
    elif fixed.slots is not None:
        threads = (max(1, cores // fixed.slots),)
    else:
        threads = (count for count in _THREADS if count <= max(1, cores))
    sizes = sorted({_filled(size, fixed_batch) for size in _SIZES}) if fixed.max_batch is None else [fixed.max_batch]
    return tuple(
        RunPlan(threads_per_call=count, slots=fixed.slots or max(1, cores // count), max_batch=size)
        for count in threads
        for size in sizes
    )


def choose(rounds: Mapping[RunPlan, Sequence[float]]) -> RunPlan:
    """The simplest plan that no other beats. `rounds`: each plan's crops/s, in as many rounds as it was measured."""
    plans = sorted(rounds, key=lambda plan: (plan.threads_per_call, plan.max_batch))
    unbeaten = (plan for plan in plans if not any(_beats(rounds[other], rounds[plan]) for other in plans))
    return next(unbeaten, plans[0])


def tune(
    open_engine: Callable[[RunPlan], Engine],
    stager: Stager,
    *,
    fixed: FixedFigures,
    cores: int,
    seconds: float,
    fixed_batch: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[float], object] = lambda _: None,
) -> Tuning:
    """Measure the plans that `fixed` leaves open, for about `seconds` at most, and choose one. 0: the default plan.

    `open_engine` and the engines may raise EnginesError; such plans are left out. If no plan could be measured, the
    default plan is chosen. Blocks, uses all cores, and holds an engine for each number of threads. The first plan is
    always measured. `fixed_batch`: as in `candidates`. `progress`: told how much is done, from 0 to 1.
    """
    plans = candidates(fixed, cores, fixed_batch)
    if not seconds:
        return Tuning(plan=default_plan(fixed, cores, fixed_batch))
    if len(plans) == 1:
        return Tuning(plan=plans[0])
    found = _Measurements(clock, progress, seconds)
    boxes = noise_boxes(max(plan.max_batch for plan in plans))
    with ExitStack() as stack:
        frame = stack.enter_context(stager.stage(noise(), boxes))
        crops = [BoxCrop(frame=frame, box=box) for box in boxes]
        engines: dict[RunPlan, Engine] = {}
        for _, group in groupby(plans, key=lambda plan: (plan.threads_per_call, plan.slots)):
            alike = tuple(group)
            try:
                engine = stack.enter_context(closing(open_engine(alike[-1])))
            except EnginesError as error:
                found.failed |= dict.fromkeys(alike, str(error))
            else:
                engines |= dict.fromkeys(alike, engine)
        found.measure(engines, crops)
    measured = {plan: rates for plan, rates in found.rounds.items() if plan not in found.failed}
    missed = {plan: "no time was left" for plan in plans if plan not in measured}
    return Tuning(
        plan=choose(measured) if measured else default_plan(fixed, cores, fixed_batch),
        crops_per_s={plan: median(rates) for plan, rates in measured.items()},
        left_out=missed | found.failed,
    )


def _filled(size: int, fixed_batch: int | None) -> int:
    """The next multiple of the network's batch size."""
    piece = fixed_batch or 1
    return -(-size // piece) * piece


def _beats(rates: Sequence[float], others: Sequence[float]) -> bool:
    """Whether a plan is clearly faster than another one, in the rounds that both have."""
    leads = [rate / other for rate, other in zip(rates, others, strict=False)]
    wins = sum(lead > 1.0 for lead in leads)
    return median(leads) > 1.0 + 1.0 / len(leads) and wins > _WINS * len(leads)


class _Measurements:
    """The figures so far. `rounds`: crops/s of a plan, in each round. `failed`: why a plan cannot run."""

    def __init__(self, clock: Callable[[], float], progress: Callable[[float], object], seconds: float) -> None:
        self._clock = clock
        self._progress = progress
        self._seconds = seconds
        self.rounds: dict[RunPlan, list[float]] = {}
        self.failed: dict[RunPlan, str] = {}

    def measure(self, engines: Mapping[RunPlan, Engine], crops: Sequence[BoxCrop]) -> None:
        """Measure every plan once in each round, until the time is over or there are enough rounds."""
        began = self._clock()
        to_and_fro = [*engines, *reversed(list(engines))]  # so that what grows slower or faster favours no plan
        steps = _ROUNDS * len(engines)
        for step in range(steps):
            plan = to_and_fro[step % len(to_and_fro)]
            if not self._measured(plan, engines[plan], crops, began + self._seconds):
                return
            self._progress(max((step + 1) / steps, min(1.0, (self._clock() - began) / self._seconds)))

    def _measured(self, plan: RunPlan, engine: Engine, crops: Sequence[BoxCrop], end: float) -> bool:
        """Measure one plan; False if no time is left for it."""
        if plan in self.failed:
            return True
        new = plan not in self.rounds
        needed_s = max(_MEASUREMENT_S, self._crop_s(plan) * plan.max_batch) * (1 + new)
        if self.rounds and self._clock() + needed_s > end:
            return False
        try:
            if new:
                self._rate(engine, plan, crops, 0.0)  # the first batches of a size are slow
            rate = self._rate(engine, plan, crops, _MEASUREMENT_S)
        except EnginesError as error:
            self.failed[plan] = str(error)
        else:
            self.rounds.setdefault(plan, []).append(rate)
        return True

    def _crop_s(self, plan: RunPlan) -> float:
        """Seconds per crop of one of a plan's slots: by its last round, or by that of the plan most like it."""
        like = self.rounds.get(plan) or next(reversed(self.rounds.values()), None)
        return plan.slots / like[-1] if like else 0.0

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
