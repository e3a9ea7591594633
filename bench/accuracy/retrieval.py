"""Rank-1 and mAP: how well queries find their person in a gallery.

The definitions are those of the Market-1501 benchmark (Zheng et al., "Scalable person re-identification: a benchmark",
ICCV 2015): the gallery is ranked by similarity for each query, and what a query may not find (usually crops of its own
camera) is taken out of its ranking first. Average precision is the mean of the precision at each right answer, as
torchreid computes it; the benchmark's own program joins neighbouring precisions by trapezoids, which gives slightly
other figures.

Trap: both figures depend on how many right answers there are, so each comes with what a random ranking would reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Rank-1 and mAP, 0 to 1, over `queries`. A `chance` is the expectation over random rankings."""

    name: str
    queries: int
    gallery: int
    rank1: float
    rank1_chance: float
    mean_ap: float
    mean_ap_chance: float


def random_average_precision(candidates: int, hits: int) -> float:
    """Expected average precision of a random ranking of `candidates` (>= 2), of which `hits` (>= 1) are right.

    A right answer is equally likely at every rank k, and each of the k - 1 answers before it is right with the same
    probability.
    """
    before = (hits - 1) / (candidates - 1)
    return float(np.mean([(1 + (rank - 1) * before) / rank for rank in range(1, candidates + 1)]))


def retrieval(name: str, similarity: Floats, same: Flags, allowed: Flags) -> Retrieval:
    """Rank the gallery for each query and score the rankings.

    `similarity` (Q, G) float32, larger is nearer; of equal ones the first in the gallery ranks first. `same` (Q, G):
    whether it is the query's person. `allowed` (Q, G): whether the query may find it at all. Every query needs at least
    one right answer that is allowed, and two allowed answers. `gallery` of the result is the largest number of allowed
    answers.
    """
    first, precision, first_chance, precision_chance = [], [], [], []
    for scores, right, candidates in zip(similarity, same, allowed, strict=True):
        hits = right[candidates][np.argsort(-scores[candidates], kind="stable")]
        ranks = np.flatnonzero(hits) + 1
        first.append(hits[0])
        precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
        first_chance.append(hits.mean())
        precision_chance.append(random_average_precision(len(hits), len(ranks)))
    return Retrieval(
        name=name,
        queries=len(similarity),
        gallery=int(allowed.sum(axis=1).max()),
        rank1=float(np.mean(first)),
        rank1_chance=float(np.mean(first_chance)),
        mean_ap=float(np.mean(precision)),
        mean_ap_chance=float(np.mean(precision_chance)),
    )
