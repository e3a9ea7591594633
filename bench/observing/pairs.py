"""A ratio with an interval, from many rounds in which each side had its turn.

Why a bootstrap: what other programs do to a round has no shape that a formula knows. The rounds are drawn again, with
repetition, and the middle 95 % of the ratios that come out are the interval. Trap: it says how much the rounds differ,
and nothing of an error that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000
_MIDDLE = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`low`, `high`: the interval of 95 %. `rounds`: how many it is made of."""

    value: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def of_medians(over: Sequence[float], under: Sequence[float], seed: int = 0) -> Ratio:
    """The median of the rounds' ratios."""
    ratios = np.asarray(over, np.float64) / np.asarray(under, np.float64)
    draws = np.random.default_rng(seed).integers(0, len(ratios), (_DRAWS, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), _MIDDLE)
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high), rounds=len(ratios))


Progress = Callable[[], None]
"""Called after each round."""
