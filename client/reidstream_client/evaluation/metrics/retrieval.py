"""Rank-k, CMC, mAP and mINP, out of ranks.

AP is the mean of the precision at each right answer, as torchreid, fast-reid and TAO compute it. (The program of
Market-1501 itself joins neighbouring precisions by trapezoids.) INP is the number of right answers over the rank of the
last one (Ye et al., 2021). CMC at k is the share of queries whose first right answer is among the first k.

Trap: a query without a right answer has no figure at all. It is left out of every mean and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation.pictures import Integers

from .ranking import Ranks

RANKS: Final = (1, 5, 10, 20)
CMC_LENGTH: Final = 50

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryFigures:
    """Of Q queries, NaN or -1 where nothing is right: `average_precision`, `inverse_penalty` (INP), `first_rank` of a
    right answer from 0. `right`: how many there are.
    """

    average_precision: Doubles
    inverse_penalty: Doubles
    first_rank: Integers
    right: Integers

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """The queries that have a right answer."""
        return self.right > 0

    def columns(self) -> Mapping[str, Doubles]:
        """Each figure by its name, one number a query: their means are the figures of the benchmark."""
        named = {f"rank-{k}": np.asarray(self.first_rank < k, np.float64) for k in RANKS}
        return {**named, "mAP": self.average_precision, "mINP": self.inverse_penalty}


def figures_of(ranks: Ranks) -> QueryFigures:
    """The figures of each query."""
    lengths = np.diff(ranks.starts)
    some = lengths > 0
    average_precision = np.full(len(ranks), np.nan)
    inverse_penalty = np.full(len(ranks), np.nan)
    first = np.full(len(ranks), -1, np.int64)
    if some.any():
        starts = ranks.starts[:-1][some]
        order = np.arange(len(ranks.ranks)) - np.repeat(starts, lengths[some]) + 1
        precision = order / (ranks.ranks + 1)
        average_precision[some] = np.add.reduceat(precision, starts) / lengths[some]
        inverse_penalty[some] = lengths[some] / (ranks.ranks[ranks.starts[1:][some] - 1] + 1)
        first[some] = ranks.ranks[starts]
    return QueryFigures(
        average_precision=average_precision, inverse_penalty=inverse_penalty, first_rank=first, right=lengths
    )


def cmc(figures: QueryFigures, length: int = CMC_LENGTH) -> Doubles:
    """The share of queries that are right by rank 1, 2, ... `length`."""
    first = figures.first_rank[figures.counted]
    found = np.bincount(first[first < length], minlength=length)
    curve: Doubles = np.cumsum(found) / max(1, len(first))
    return curve


def means(figures: QueryFigures) -> Mapping[str, float]:
    """Each figure of the benchmark, by its name; NaN if no query has a right answer."""
    counted = figures.counted
    return {
        name: float(column[counted].mean()) if counted.any() else float("nan")
        for name, column in figures.columns().items()
    }
