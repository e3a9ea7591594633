"""Rows of few numbers: which columns, and what is there.

Why: a matrix of all rows and all columns of MSMT17 has 9 thousand million numbers, of which one in a thousand is not
zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Starts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseRows:
    """Row i has `values[starts[i]:starts[i + 1]]` in the columns `columns[...]`, which are different."""

    starts: Starts
    columns: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Columns and values of one row."""
        part = slice(self.starts[number], self.starts[number + 1])
        return self.columns[part], self.values[part]


def stack(counts: npt.NDArray[np.int64]) -> Starts:
    """Where each row begins, given how many each has."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def places(starts: Starts, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The places of everything in these rows, one row after the other; and how many each has."""
    lengths = starts[rows + 1] - starts[rows]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    shift = np.repeat(starts[rows] - (ends - lengths), lengths)
    return np.arange(total) + shift, lengths


def transposed(rows: SparseRows, first: int, width: int) -> SparseRows:
    """Columns as rows, of the rows from `first` on, which are counted from there. `width`: how many columns."""
    begin = int(rows.starts[first])
    columns, values = rows.columns[begin:], rows.values[begin:]
    order = np.argsort(columns, kind="stable")
    lengths = np.diff(rows.starts[first:])
    numbers = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    return SparseRows(
        starts=stack(np.bincount(columns, minlength=width).astype(np.int64)),
        columns=numbers[order],
        values=values[order],
    )


def means_of(rows: SparseRows, lists: npt.NDArray[np.int32], block: int = 1024) -> SparseRows:
    """Row i becomes the mean of the rows `lists[i]`."""
    width = int(rows.columns.max(initial=0)) + 1
    counts = np.zeros(len(lists), np.int64)
    columns: list[npt.NDArray[np.int32]] = []
    values: list[npt.NDArray[np.float32]] = []
    for first in range(0, len(lists), block):
        part = lists[first : first + block]
        taken, lengths = places(rows.starts, part.ravel())
        owner = np.repeat(np.repeat(np.arange(len(part)), part.shape[1]), lengths)
        keys = owner * width + rows.columns[taken]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1]]))
        sums = np.add.reduceat(rows.values[taken][order], begins) if len(begins) else np.zeros(0, np.float32)
        unique = keys[begins]
        counts[first : first + len(part)] = np.bincount(unique // width, minlength=len(part))
        columns.append((unique % width).astype(np.int32))
        values.append(np.asarray(sums / lists.shape[1], np.float32))
    return SparseRows(starts=stack(counts), columns=np.concatenate(columns), values=np.concatenate(values))
