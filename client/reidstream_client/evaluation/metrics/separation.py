"""Scores of pictures of the same and of different people: how far apart they lie, and where their errors are equal.

Scores are cosines, where more is nearer, or euclidean distances, where less is. Trap: the equal error rate needs a
threshold that holds for all queries, which ranks do not. A model can rank well and have no good threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation.pictures import Benchmark, Integers

from .distances import Distance, Floats, Rows, scores_of
from .ranking import Judge, block_rows

QUERIES: Final = 500
_BINS: Final = 100

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separation:
    """`edges` (B + 1,) of the bins; `same` and `different` (B,): pairs in each. `equal_error_rate` at `threshold`.
    `queries`: how many were looked at.
    """

    distance: Distance
    edges: Doubles
    same: Integers
    different: Integers
    equal_error_rate: float
    threshold: float
    queries: int


def separation(benchmark: Benchmark, query: Rows, gallery: Rows, *, seed: int = 0) -> Separation | None:
    """Of the queries, or of QUERIES of them, drawn by `seed`. None if there is no pair of the one or the other kind."""
    count = len(benchmark.query)
    chosen = np.arange(count)
    if count > QUERIES:
        chosen = np.sort(np.random.default_rng(seed).choice(count, QUERIES, replace=False))
    judge = Judge(benchmark)
    same: list[Floats] = []
    different: list[Floats] = []
    step = block_rows(len(gallery))
    for first in range(0, len(chosen), step):
        part = chosen[first : first + step]
        block = scores_of(query.values[part], gallery)
        for row, number in zip(block, part.tolist(), strict=True):
            judged = judge.of(number)
            values = row if query.distance is Distance.COSINE else gallery.distances(row, query.own[number])
            others = np.ones(len(values), np.bool_)
            others[judged.right] = others[judged.hidden] = False
            same.append(values[judged.right])
            different.append(values[others])
    alike, apart = np.concatenate(same), np.concatenate(different)
    if not len(alike) or not len(apart):
        return None
    least = float(min(alike.min(), apart.min()))
    most = float(max(alike.max(), apart.max()))
    edges = np.linspace(least, most if most > least else least + 1, _BINS + 1)
    rate, threshold = equal_error(alike, apart, nearer_is_more=query.distance is Distance.COSINE)
    return Separation(
        distance=query.distance,
        edges=edges,
        same=np.histogram(alike, edges)[0].astype(np.int64),
        different=np.histogram(apart, edges)[0].astype(np.int64),
        equal_error_rate=rate,
        threshold=threshold,
        queries=len(chosen),
    )


def equal_error(same: Floats, different: Floats, *, nearer_is_more: bool) -> tuple[float, float]:
    """The error rate at the threshold where both kinds of errors are nearest to each other, and the threshold: a score
    that is at least (or at most, of distances) the threshold means the same person.
    """
    sign = 1 if nearer_is_more else -1
    alike, apart = np.sort(sign * same), np.sort(sign * different)
    thresholds = np.unique(np.concatenate([alike, apart]) if len(apart) < len(alike) * 100 else alike)
    missed = np.searchsorted(alike, thresholds, "left") / len(alike)
    taken = 1 - np.searchsorted(apart, thresholds, "left") / len(apart)
    at = int(np.abs(missed - taken).argmin())
    return float((missed[at] + taken[at]) / 2), float(sign * thresholds[at])
