"""An interval for each figure, from a bootstrap over identities.

Pictures of one identity succeed and fail together, so identities are drawn again, and not queries: each time as many as
there are, with replacement, and all queries of an identity with it. The spread of the figure over the draws is its
standard error. The interval is Wilson's, with as many trials as would have this standard error.

Why not the percentiles of the draws: near 0 and 1 they miss the truth far too often. A rank-1 without a single failure
would get an interval of no width. There, the interval is the exact one of a share: by the number of identities.

Trap: the gallery stays as it is. The interval says how much the figure depends on who is asked for, and not on how the
model was trained or on which distractors there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation.pictures import Integers

Doubles = npt.NDArray[np.float64]

DRAWS: Final = 2000
_BLOCK: Final = 250
_LEAST_IDENTITIES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with its interval; `low` and `high` are None where one identity says nothing of others."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Sums over the queries of each identity: `sums` (K, M) of M figures, `counts` (K,) of queries."""

    sums: Doubles
    counts: Doubles


def cluster(identities: Integers, columns: Mapping[str, Doubles]) -> Clusters:
    """Sum figures, one number a query, by identity."""
    _, group = np.unique(identities, return_inverse=True)
    counts = np.bincount(group).astype(np.float64)
    return Clusters(sums=np.stack([np.bincount(group, column) for column in columns.values()], axis=1), counts=counts)


def intervals(
    identities: Integers,
    columns: Mapping[str, Doubles],
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Mapping[str, Figure]:
    """The mean of each column with its interval. `identities` (Q,); columns (Q,) within 0 to 1. At least one query."""
    clusters = cluster(identities, columns)
    values = clusters.sums.sum(axis=0) / clusters.counts.sum()
    if len(clusters.counts) < _LEAST_IDENTITIES:
        return {
            name: Figure(value=float(value), low=None, high=None) for name, value in zip(columns, values, strict=True)
        }
    errors = standard_errors(clusters, draws=draws, seed=seed)
    found = {}
    for name, value, error in zip(columns, values.tolist(), errors.tolist(), strict=True):
        low, high = score_interval(value, error, len(clusters.counts), confidence)
        found[name] = Figure(value=value, low=low, high=high)
    return found


def standard_errors(clusters: Clusters, *, draws: int, seed: int) -> Doubles:
    """(M,) the standard deviation of each mean over the draws."""
    generator = np.random.default_rng(seed)
    identities = len(clusters.counts)
    means = []
    for first in range(0, draws, _BLOCK):
        times = drawn(generator, min(_BLOCK, draws - first), identities)
        means.append((times @ clusters.sums) / (times @ clusters.counts)[:, None])
    spread: Doubles = np.concatenate(means).std(axis=0, ddof=1) * math.sqrt(identities / (identities - 1))
    return spread


def drawn(generator: np.random.Generator, draws: int, identities: int) -> Doubles:
    """(draws, identities) how often each was drawn, if each draw takes as many as there are."""
    places = generator.integers(0, identities, size=(draws, identities)) + identities * np.arange(draws)[:, None]
    times: Doubles = (
        np.bincount(places.ravel(), minlength=draws * identities).reshape(draws, identities).astype(np.float64)
    )
    return times


def score_interval(value: float, error: float, identities: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a mean within 0 to 1 whose standard error is known, out of so many identities."""
    value = min(1.0, max(0.0, value))
    tail = (1 - confidence) / 2
    if value in {0.0, 1.0}:
        bound = tail ** (1 / identities)
        return (bound, 1.0) if value else (0.0, 1 - bound)
    spread = value * (1 - value)
    trials = spread / error**2 if error > 0 else float(identities)
    z = student(1 - tail, identities - 1)
    centre = (value + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(spread / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def student(share: float, freedom: int) -> float:
    """The quantile of Student's t, by the first terms of its expansion around the normal one (Fisher and Cornish).

    Exact for one and two degrees of freedom; above, the error is below 1 % of the quantile.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:  # noqa: PLR2004 - both have a closed form
        off = 2 * share - 1
        return off * math.sqrt(2 / (1 - off * off))
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
