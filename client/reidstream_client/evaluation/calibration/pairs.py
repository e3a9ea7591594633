"""Scores of pairs: of surely two people, as far as a threshold can lie among them, and of surely one.

Trap: 2,000 pictures make two million pairs, of which a rate of 0.001 looks at two thousand. So the pairs with low
scores are counted and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .groups import Groups

_MARGIN: Final = 8
"""How many times as many pairs are kept as the wanted rate takes; draws of people differ that much at most."""
_LEAST: Final = 2000

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Impostors:
    """Pairs of two people: the highest scores, descending, with the two people of each. `counts` (P, P): how many pairs
    there are of each two, the kept ones and the others.
    """

    scores: Doubles
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    counts: Doubles
    total: int


def impostors(groups: Groups, rate: float) -> Impostors:
    """The pairs that matter for a false-match rate."""
    sizes = np.bincount(groups.people, minlength=len(groups.different)).astype(np.float64)
    counts = np.triu(np.outer(sizes, sizes) * groups.different, 1)
    total = int(counts.sum())
    left, right, scores = impostor_scores(groups)
    wanted = min(total, max(_LEAST, int(np.ceil(_MARGIN * rate * total))))
    best = np.argpartition(-scores, wanted - 1)[:wanted] if wanted else np.zeros(0, np.int64)
    best = best[np.argsort(-scores[best], kind="stable")]
    return Impostors(
        scores=scores[best].astype(np.float64),
        first=groups.people[left[best]],
        second=groups.people[right[best]],
        counts=counts,
        total=total,
    )


def genuine(groups: Groups) -> Doubles:
    """The scores of all pairs of one person, ascending."""
    found = [np.zeros(0)]
    for person in range(len(groups.different)):
        own = groups.values[groups.people == person]
        left, right = np.triu_indices(len(own), 1)
        found.append(np.einsum("pd,pd->p", own[left], own[right]).astype(np.float64))
    return np.sort(np.concatenate(found))


def impostor_scores(groups: Groups) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """All pairs of surely two people, as rows, and their scores."""
    left, right = np.triu_indices(len(groups.people), 1)
    two = groups.different[groups.people[left], groups.people[right]]
    left, right = left[two], right[two]
    return left, right, (groups.values @ groups.values.T)[left, right]
