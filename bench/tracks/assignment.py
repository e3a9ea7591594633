"""Who belongs to whom: pairs of the least cost in all, by the Hungarian method.

Why our own: it is what a tracker and IDF1 need of a large package. The form is the usual one with potentials (shortest
augmenting paths, one row after the other), O(n^2 m), with the inner loop in numpy.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]


def assign(cost: Doubles) -> list[tuple[int, int]]:
    """Pairs (row, column) of `cost` (n, m), finite: min(n, m) of them, with the least sum; by row."""
    if not cost.size:
        return []
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(np.ascontiguousarray(cost.T)))
    rows, columns = cost.shape
    row_of = np.full(columns + 1, -1)  # the last column is where each new row begins
    of_rows, of_columns = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        row_of[columns] = row
        at, before = columns, np.full(columns, columns)
        least, visited = np.full(columns, np.inf), np.zeros(columns + 1, bool)
        while row_of[at] >= 0:
            visited[at] = True
            free = ~visited[:columns]
            reduced = cost[row_of[at]] - of_rows[row_of[at]] - of_columns[:columns]
            better = free & (reduced < least)
            least[better], before[better] = reduced[better], at
            following = int(np.where(free, least, np.inf).argmin())
            step = least[following]
            of_rows[row_of[visited]] += step
            of_columns[visited] -= step
            least[free] -= step
            at = following
        while at != columns:
            row_of[at] = row_of[before[at]]
            at = int(before[at])
    return sorted((int(row_of[column]), column) for column in range(columns) if row_of[column] >= 0)
