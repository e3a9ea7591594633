"""The result of a run: whether the invariants held, what happened, and the last events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .books import Violation
from .oracle import FrameEffect
from .plan import Scenario
from .situations import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the scheduler, for the trace."""

    at_ns: int
    event: str
    subject: object
    effects: list[FrameEffect]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a run. `violation` is None if every invariant held."""

    scenario: Scenario
    violation: Violation | None
    steps: int
    frames: int
    checks: int
    virtual_ns: int
    seen: Counter[Situation]
    trace: list[Step] = field(default_factory=list)
