"""The result of a run."""

from __future__ import annotations

from dataclasses import dataclass

from .books import Violation
from .plan import Scenario
from .verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`violation`: None if every invariant held. `moves`: streams that ended and were opened again."""

    scenario: Scenario
    violation: Violation | None
    events: int
    checks: int
    moves: int
    verdicts: tuple[Verdict, ...]

    @property
    def causes(self) -> frozenset[str]:
        """How tracks have ended."""
        return frozenset(cause for verdict in self.verdicts for cause in verdict.causes)
