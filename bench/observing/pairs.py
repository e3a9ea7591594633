"""A ratio with an interval, from many rounds in which each side had its turn.

Why a bootstrap: what other programs do to a round has no shape that a formula knows. The rounds are drawn again, with
repetition, and the middle 95 % of the ratios that come out are the interval. Trap: it says how much the rounds differ,
and nothing of an error that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

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
    drawn = np.median(ratios[_draws(len(ratios), seed)], axis=1)
    return _ratio(float(np.median(ratios)), drawn, len(ratios))


def of_percentiles(
    over: Sequence[Sequence[float]], under: Sequence[Sequence[float]], percentile: float, seed: int = 0
) -> Ratio:
    """The percentile of all values of one side by that of the other. Each round has many values of both."""
    value = _pooled(over, percentile) / _pooled(under, percentile)
    rounds = len(over)
    drawn = [
        _pooled([over[one] for one in chosen], percentile) / _pooled([under[one] for one in chosen], percentile)
        for chosen in _draws(rounds, seed)
    ]
    return _ratio(value, np.asarray(drawn), rounds)


def _pooled(rounds: Sequence[Sequence[float]], percentile: float) -> float:
    return float(np.percentile(np.concatenate([np.asarray(one) for one in rounds]), percentile))


def _draws(rounds: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, rounds, (_DRAWS, rounds))


def _ratio(value: float, drawn: Values, rounds: int) -> Ratio:
    low, high = np.percentile(drawn, _MIDDLE)
    return Ratio(value=value, low=float(low), high=float(high), rounds=rounds)


Progress = Callable[[], None]
"""Called after each round."""
