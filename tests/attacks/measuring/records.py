"""What the victims report, on the clock that all processes of a machine share (`time.monotonic`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One frame, or one visit. `answered`: when; None: never, and `problem` says why."""

    sent: float
    answered: float | None = None
    problem: str = ""

    @property
    def took_s(self) -> float | None:
        """Seconds to the answer."""
        return None if self.answered is None else self.answered - self.sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What became of the attempts of a stretch of time. Delays in milliseconds; None without an answer."""

    sent: int
    answered: int
    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None
    problems: Sequence[str] = field(default_factory=tuple)

    @property
    def lost(self) -> int:
        """Those without an answer."""
        return self.sent - self.answered


def stretch_of(attempts: Sequence[Attempt], begin: float, end: float) -> Stretch:
    """Of the attempts that began in [begin, end)."""
    within = [one for one in attempts if begin <= one.sent < end]
    delays = [1000 * one.took_s for one in within if one.took_s is not None]
    p50, p99, worst = (
        (round(float(value), 1) for value in np.percentile(delays, [50, 99, 100])) if delays else (None, None, None)
    )
    problems = sorted({one.problem for one in within if one.problem})
    return Stretch(
        sent=len(within), answered=len(delays), p50_ms=p50, p99_ms=p99, worst_ms=worst, problems=tuple(problems[:5])
    )
