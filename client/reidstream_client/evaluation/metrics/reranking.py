"""k-reciprocal re-ranking (Zhong et al., "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017).

Two pictures are of one person if their neighbours are the same. Queries and gallery are one set. Each row becomes a
sparse vector over this set: exp(-d) for the members of its expanded k-reciprocal set, scaled to sum 1, then averaged
over its k2 nearest rows. The distance of two such vectors is the Jaccard distance 1 - min / (2 - min), where min is the
sum of their smaller numbers. The result is (1 - lambda) Jaccard + lambda d.

d is the squared euclidean distance over the largest in its row, as in the authors' program and those that follow it;
for cosine, of rows of length 1. It is exact: no neighbour is left out. What is kept is the k1 lists, the sparse
vectors, and blocks of everything else, so memory grows with the rows and not with their square.

Trap: figures with re-ranking need the whole gallery at once and must not be compared with figures without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import InvalidRequest

from .distances import Floats, Rows, scores_of
from .neighbours import Lists, nearest
from .ranking import Blocks
from .reciprocal import expanded_sets
from .sparse import SparseRows, means_of, places, transposed
from .threads import make_pool, over_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """`k1`: neighbours of the reciprocal sets. `k2`: rows that are averaged. `weight`: lambda, of the distance itself.
    The defaults are the paper's. Raises InvalidRequest.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1:
            raise InvalidRequest(f"k1 and k2 must be 1 or more, not {self.k1} and {self.k2}")
        if not 0 <= self.weight <= 1:
            raise InvalidRequest(f"lambda must be 0 to 1, not {self.weight}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Encoded:
    """What is needed to compare queries with the gallery."""

    query: Rows
    gallery: Rows
    farthest: Floats
    rows: SparseRows
    by_member: SparseRows
    weight: float


def reranked_blocks(
    query: Rows, gallery: Rows, settings: Reranking, on_rows: Callable[[int], object] | None = None
) -> Callable[[int], Blocks]:
    """Blocks of scores by re-ranked distances: minus the distance. All neighbours are found before it returns;
    `on_rows` is told of how many rows, each time. Raises InvalidRequest if there are not enough pictures for k1.
    """
    total = len(query) + len(gallery)
    wanted = max(settings.k1 + 1, settings.k2)
    if wanted > total:
        raise InvalidRequest(
            f"k1 {settings.k1} and k2 {settings.k2} need {wanted} pictures, and there are {total}; use smaller ones"
        )
    together = _together(query, gallery)
    lists, farthest = nearest(together, wanted, on_rows)
    rows = _encode(together, lists, farthest, settings)
    encoded = _Encoded(
        query=query,
        gallery=gallery,
        farthest=farthest[: len(query)],
        rows=rows,
        by_member=transposed(rows, len(query), total),
        weight=settings.weight,
    )
    return lambda block: _blocks(encoded, block)


def _together(query: Rows, gallery: Rows) -> Rows:
    offsets = None
    if query.offsets is not None and gallery.offsets is not None:
        offsets = np.concatenate([query.offsets, gallery.offsets])
    return Rows(
        distance=query.distance,
        values=np.concatenate([query.values, gallery.values]),
        offsets=offsets,
        own=np.concatenate([query.own, gallery.own]),
    )


def _encode(together: Rows, lists: Lists, farthest: Floats, settings: Reranking) -> SparseRows:
    """Every row as a sparse vector over all rows."""
    starts, members = expanded_sets(lists, settings.k1)
    # einsum, since a product of a few rows would be given out to the threads of the matrix library each time.
    values = np.zeros(len(members), np.float32)
    scale = np.where(farthest > 0, farthest, np.float32(1))  # all rows alike: every distance is 0

    def work(start: int, end: int) -> None:
        for row in range(start, end):
            part = slice(starts[row], starts[row + 1])
            own = members[part]
            scores: Floats = np.einsum("md,d->m", together.values[own], together.values[row])
            if together.offsets is not None:
                scores -= together.offsets[own]
            weights = np.exp(-together.squared(scores, together.own[row]) / scale[row])
            values[part] = weights / weights.sum()

    with make_pool() as pool:
        over_rows(len(starts) - 1, work, pool)
    rows = SparseRows(starts=starts, columns=members, values=values)
    return rows if settings.k2 == 1 else means_of(rows, lists[:, : settings.k2])


def _blocks(encoded: _Encoded, block: int) -> Blocks:
    query, gallery = encoded.query, encoded.gallery
    scale = np.where(encoded.farthest > 0, encoded.farthest, np.float32(1))
    with make_pool() as pool:
        for first in range(0, len(query), block):
            scores = scores_of(query.values[first : first + block], gallery)

            def work(start: int, end: int, first: int = first, scores: Floats = scores) -> None:
                for at in range(start, end):
                    row = first + at
                    distance = gallery.squared(scores[at], query.own[row]) / scale[row]
                    jaccard = _jaccard(encoded, row)
                    scores[at] = -((1 - encoded.weight) * jaccard + encoded.weight * distance)

            over_rows(len(scores), work, pool)
            yield first, scores


def _jaccard(encoded: _Encoded, row: int) -> npt.NDArray[np.float64]:
    """The Jaccard distance of a query to each row of the gallery."""
    columns, values = encoded.rows.row(row)
    taken, lengths = places(encoded.by_member.starts, columns)
    smaller = np.minimum(np.repeat(values, lengths), encoded.by_member.values[taken])
    shared = np.bincount(encoded.by_member.columns[taken], smaller, minlength=len(encoded.gallery))
    distance: npt.NDArray[np.float64] = 1 - shared / (2 - shared)
    return distance
