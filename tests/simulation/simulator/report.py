"""Results in words: the last events of a run, how to see it again, and the sum of many runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from reidstream_server.core.effects import CropRef

from .books import FrameBook
from .oracle import FrameEffect
from .outcome import Outcome, Step
from .plan import MS, ModelPlan
from .situations import Situation


def describe_failure(outcome: Outcome) -> str:
    """The invariant that did not hold, the command that replays it, and the last events."""
    seed = outcome.scenario.seed
    lines = [
        f"seed {seed}: {outcome.violation}",
        f"replay: python -m tests.simulation --seed {seed} --trace",
        f"faults: {', '.join(fault.value for fault in outcome.scenario.faults)}",
        f"models: {', '.join(map(_model, outcome.scenario.models))}",
        f"the last {len(outcome.trace)} of {outcome.steps} events:",
        *(line for step in outcome.trace for line in trace_lines(step)),
    ]
    return "\n".join(lines)


def _model(plan: ModelPlan) -> str:
    comes = "" if plan.comes_ns is None else f" from {plan.comes_ns / MS:g} ms"
    when = "" if plan.retires_when is None else f", when {plan.retires_when.value}"
    goes = "" if plan.retires_ns is None else f" until {plan.retires_ns / MS:g} ms{when}"
    return f"{plan.terms.name}{comes}{goes}"


def trace_lines(step: Step) -> Iterator[str]:
    """An event and its effects."""
    yield f"{step.at_ns / MS:12.3f} ms  {step.event}: {_word(step.subject)}"
    for effect in step.effects:
        yield f"{'':18}{_effect(effect)}"


def _effect(effect: FrameEffect) -> str:
    values = [f"{each.name}={_word(getattr(effect, each.name))}" for each in fields(effect) if each.name != "times"]
    return f"{type(effect).__name__} {' '.join(values)}"


def _word(value: object) -> str:
    match value:
        case FrameBook():
            return f"frame {value.number} of client {value.client.number}"
        case ModelPlan():
            return _model(value)
        case CropRef():
            return f"{value.payload.number}[{value.index}]"
        case tuple():
            return f"({', '.join(map(_word, value))})"
        case _:
            return str(value)


@dataclass(slots=True, kw_only=True)
class Total:
    """The sum of many runs."""

    seeds: int = 0
    frames: int = 0
    steps: int = 0
    checks: int = 0
    virtual_ns: int = 0
    seen: Counter[Situation] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.seeds += 1
        self.frames += outcome.frames
        self.steps += outcome.steps
        self.checks += outcome.checks
        self.virtual_ns += outcome.virtual_ns
        self.seen.update(outcome.seen)

    def merge(self, other: Total) -> None:
        """Count the runs of another sum."""
        self.seeds += other.seeds
        self.frames += other.frames
        self.steps += other.steps
        self.checks += other.checks
        self.virtual_ns += other.virtual_ns
        self.seen.update(other.seen)

    def never_seen(self) -> list[Situation]:
        """Situations that did not occur."""
        return [situation for situation in Situation if not self.seen[situation]]

    def lines(self, seconds: float) -> Iterator[str]:
        """For people."""
        yield f"{self.seeds} seeds in {seconds:.1f} s, {self.seeds / max(seconds, 1e-9):.1f} seeds/s"
        yield f"{self.frames} frames, {self.steps} events, {self.checks} invariant checks"
        yield f"{self.virtual_ns / 1e9:.0f} s of virtual time"
        for situation in Situation:
            yield f"{self.seen[situation]:>12}  {situation.value}"
