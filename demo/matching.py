"""Who is who: one vector per track, compared by cosine, paired one to one.

Why the mean over a track: a single box may show half a person behind a bench, which hardly changes the mean of sixty.
Trap: a mean of unit vectors is shorter than one, so it is normalised again before it is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """Unit vectors (N, D) and the id that each belongs to (N,)."""

    ids: Ids
    rows: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A row and a column that were paired, and their cosine."""

    row: int
    column: int
    cosine: float


def mean_per_id(vectors: Vectors) -> Vectors:
    """One unit vector per id, ids ascending: the mean direction of its rows. Rows that cancel out stay zero."""
    ids, which = np.unique(vectors.ids, return_inverse=True)
    sums = np.zeros((len(ids), vectors.rows.shape[1]), np.float32)
    np.add.at(sums, which, vectors.rows)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return Vectors(ids=ids, rows=np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0))


def pair_up(similarity: Floats) -> tuple[Pair, ...]:
    """Pair rows and columns (R, C) one to one, the most similar first; of equals, the lower row, then column."""
    rows, columns = similarity.shape
    free_rows, free_columns = set(range(rows)), set(range(columns))
    pairs = []
    for flat in np.argsort(-similarity, axis=None, kind="stable").tolist():
        row, column = divmod(flat, columns)
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            pairs.append(Pair(row=row, column=column, cosine=float(similarity[row, column])))
    return tuple(sorted(pairs, key=lambda pair: pair.row))


def rank1(similarity: Floats, queries: Ids, gallery: Ids) -> float:
    """The share of queries whose most similar column (of equals, the first) has the same id; 0 without queries.

    Queries are the rows whose id is among the columns.
    """
    asked = np.isin(queries, gallery)
    if not asked.any():
        return 0.0
    found = gallery[np.argmax(similarity[asked], axis=1)]
    return float(np.mean(found == queries[asked]))


def chance(queries: Ids, gallery: Ids) -> float:
    """The rank-1 that guessing would reach."""
    asked = queries[np.isin(queries, gallery)]
    if len(asked) == 0:
        return 0.0
    return float(np.mean(asked[:, None] == gallery[None, :]))
