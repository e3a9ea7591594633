"""The nearest rows of a set to each of its rows, and how far the farthest is.

Why not argpartition: of 94,000 scores in a row 21 are wanted. The columns are dealt into groups, and the largest score
of each group is found, which is one fast pass. At least 21 scores reach the 21st largest of these, so it is a bound,
and hardly more than the 21 pass it. Groups are made of columns that lie far apart, since pictures of one person often
lie together.

Trap: equal scores are in the order of the rows, as a stable sort has them. A bound keeps all that are equal to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from .distances import Floats, Rows, scores_of
from .threads import make_pool, over_rows

_BLOCK_BYTES: Final = 128 << 20
_GROUP: Final = 32

Lists = npt.NDArray[np.int32]


def nearest(rows: Rows, count: int, on_rows: Callable[[int], object] | None = None) -> tuple[Lists, Floats]:
    """(N, count) the nearest rows to each, itself included, nearest first; and (N,) the squared distance to the
    farthest. `count` is at most N.
    """
    total = len(rows)
    lists = np.zeros((total, count), np.int32)
    farthest = np.zeros(total, np.float32)
    step = max(1, _BLOCK_BYTES // (4 * total))
    space = np.empty((min(step, total), total), np.float32)
    with make_pool() as pool:
        for first in range(0, total, step):
            last = min(first + step, total)
            scores = scores_of(rows.values[first:last], rows, out=space[: last - first])

            def work(start: int, end: int, first: int = first, scores: Floats = scores) -> None:
                part = scores[start:end]
                lists[first + start : first + end] = _largest(part, count)
                least = part.min(axis=1)
                own = rows.own[first + start : first + end]
                farthest[first + start : first + end] = rows.squared(least, own)

            over_rows(last - first, work, pool)
            if on_rows is not None:
                on_rows(last - first)
    return lists, farthest


def _largest(scores: Floats, count: int) -> Lists:
    """The columns of the `count` largest of each row, largest first."""
    found = np.zeros((len(scores), count), np.int32)
    bounds = reached_by(scores, count)
    for row, (values, bound) in enumerate(zip(scores, bounds, strict=True)):
        columns = np.flatnonzero(values >= bound)
        order = np.argsort(-values[columns], kind="stable")[:count]
        found[row] = columns[order]
    return found


def reached_by(scores: Floats, count: int) -> Floats:
    """For each row a number that at least `count` of its scores reach, and hardly more."""
    columns = scores.shape[1]
    groups = columns // _GROUP
    if groups < 2 * count:
        bounds: Floats = np.partition(scores, columns - count, axis=1)[:, columns - count]
        return bounds
    dealt = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups)
    largest = dealt[:, 0].copy()
    for share in range(1, _GROUP):
        np.maximum(largest, dealt[:, share], out=largest)
    largest = np.concatenate([largest, scores[:, groups * _GROUP :]], axis=1)
    return np.asarray(np.partition(largest, largest.shape[1] - count, axis=1)[:, largest.shape[1] - count])
