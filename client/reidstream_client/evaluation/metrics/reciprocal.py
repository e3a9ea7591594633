"""Which rows are each other's neighbours: the k-reciprocal sets of Zhong et al. (2017), expanded as they do it.

R(i, k) is every row j among the k nearest of i that has i among its own k nearest. For each member j of R(i, k1), the
members of R(j, k1 / 2) are added if more than two thirds of them are in R(i, k1) already.

Trap: "k nearest" counts the row itself, so k + 1 are looked at, and half of k1 is rounded to even as NumPy does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from .neighbours import Lists
from .sparse import Starts, stack
from .threads import make_pool, over_rows

_BLOCK: Final = 256
_NOBODY, _NEITHER = -1, -2
_SHARE: Final = 2 / 3


def expanded_sets(lists: Lists, k1: int) -> tuple[Starts, npt.NDArray[np.int32]]:
    """The expanded sets of all rows: where each begins, and its members, ascending. `lists`: (N, >= k1 + 1) neighbours,
    nearest first.
    """
    wide = np.ascontiguousarray(lists[:, : k1 + 1])
    narrow = np.ascontiguousarray(lists[:, : half_of(k1) + 1])
    with make_pool() as pool:
        mutual, mutual_narrow = _mutual(wide, pool), _mutual(narrow, pool)
        firsts = range(0, len(lists), _BLOCK)
        in_blocks = list(pool.map(lambda first: _expanded(first, wide, narrow, mutual, mutual_narrow), firsts))
    counts = np.concatenate([counts for counts, _ in in_blocks])
    return stack(counts), np.concatenate([members for _, members in in_blocks])


def half_of(k1: int) -> int:
    """Half of k1, rounded to even."""
    return int(np.around(k1 / 2))


def _mutual(lists: Lists, pool: ThreadPoolExecutor) -> npt.NDArray[np.bool_]:
    """For each neighbour of each row, whether it has that row among its own neighbours."""
    mutual = np.zeros(lists.shape, np.bool_)

    def work(start: int, end: int) -> None:
        for first in range(start, end, _BLOCK):
            last = min(first + _BLOCK, end)
            own = np.arange(first, last, dtype=np.int32)[:, None, None]
            mutual[first:last] = (lists[lists[first:last]] == own).any(axis=2)

    over_rows(len(lists), work, pool)
    return mutual


def _expanded(
    first: int,
    wide: Lists,
    narrow: Lists,
    mutual: npt.NDArray[np.bool_],
    mutual_narrow: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Of a block of rows: how many members each has, and the members."""
    rows = len(wide)
    part = slice(first, min(first + _BLOCK, rows))
    members = np.where(mutual[part], wide[part], _NOBODY)
    there = (members != _NOBODY)[:, :, None] & mutual_narrow[members]
    others = np.where(there, narrow[members], _NEITHER)  # R(j, k1 / 2) of each member j
    known = (others[:, :, :, None] == members[:, None, None, :]).any(axis=3)
    accepted = known.sum(axis=2) > _SHARE * there.sum(axis=2)
    added = np.where(accepted[:, :, None], others, _NEITHER).reshape(len(members), -1)
    both = np.concatenate([members, added], axis=1)
    owner = np.broadcast_to(np.arange(len(members), dtype=np.int64)[:, None], both.shape)
    keys = np.unique(owner[both >= 0] * rows + both[both >= 0])
    return np.bincount(keys // rows, minlength=len(members)).astype(np.int64), (keys % rows).astype(np.int32)
