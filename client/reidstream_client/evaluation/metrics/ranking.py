"""Where the right answers of each query stand in its ranking.

Only the right answers need a rank: how many answers are nearer. So of each row only the scores that reach the lowest
right one are looked at, and these are sorted as plain numbers, which is faster than to sort indices. Of equal scores
the one that comes first in the gallery ranks first; such rows are counted (`tied`), since a network whose vectors are
all alike would otherwise get figures that only the order of the files made.

What a query may not find gets the score of minus infinity, so it stands behind everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.evaluation.pictures import Benchmark, Integers, Protocol

from .distances import Floats, Rows, scores_of
from .neighbours import reached_by
from .threads import make_pool, over_rows

_BLOCK_BYTES: Final = 64 << 20
_NEVER: Final = np.float32(-np.inf)
SHOWN: Final = 10

Blocks = Iterator[tuple[int, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks:
    """Right answers of Q queries. Query i has `ranks[starts[i]:starts[i + 1]]`, from 0, ascending; `candidates` (Q,)
    is how many answers it could find, and `tied` (Q,) whether an answer that is wrong scores exactly as a right one.
    `best` (Q, SHOWN): the nearest answers, as gallery rows, nearest first; -1 where there are fewer.
    """

    starts: Integers
    ranks: Integers
    candidates: Integers
    tied: npt.NDArray[np.bool_]
    best: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    ranks: Integers
    tied: bool
    best: Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Which columns are right for a row, and which may not be found; `right` without the latter, both ascending."""

    right: Integers
    hidden: Integers


class Judge:
    """Says of each query which gallery rows are right, and which it may not find."""

    def __init__(self, benchmark: Benchmark) -> None:
        gallery, query = benchmark.gallery, benchmark.query
        self._protocol = benchmark.protocol
        self._identities, self._cameras = query.identities, query.cameras
        self._order = np.argsort(gallery.identities, kind="stable")
        grouped = gallery.identities[self._order]
        self._from = np.searchsorted(grouped, query.identities, "left")
        self._to = np.searchsorted(grouped, query.identities, "right")
        self._gallery_cameras = gallery.cameras
        place = {name: row for row, name in enumerate(gallery.names)}
        self._own = np.array([place.get(name, -1) for name in query.names], np.int64)

    def of(self, query: int) -> Judged:
        """For one query."""
        same = self._order[self._from[query] : self._to[query]]
        own = self._own[query]
        hidden = same == own
        if self._protocol is Protocol.CROSS_CAMERA:
            hidden |= self._gallery_cameras[same] == self._cameras[query]
        left_out = same[hidden]
        if own >= 0 and not (same == own).any():  # the query itself, as somebody else's picture
            left_out = np.append(left_out, own)
        return Judged(right=same[~hidden], hidden=left_out)


def rank(
    benchmark: Benchmark, blocks: Callable[[int], Blocks], on_rows: Callable[[int], object] | None = None
) -> Ranks:
    """Rank the gallery for each query. `blocks(rows)` gives the first query of each block and its scores, (rows, G)
    float32, larger is nearer, finite; they are overwritten. `on_rows` is told how many queries are done, each time.
    """
    judge = Judge(benchmark)
    queries, gallery = len(benchmark.query), len(benchmark.gallery)
    ranked: list[Integers] = [np.zeros(0, np.int64)] * queries
    candidates = np.zeros(queries, np.int64)
    tied = np.zeros(queries, np.bool_)
    best = np.full((queries, SHOWN), -1, np.int32)
    shown = min(SHOWN, gallery)
    with make_pool() as pool:
        for first, scores in blocks(block_rows(gallery)):

            def work(start: int, end: int, first: int = first, scores: Floats = scores) -> None:
                judged = [judge.of(first + row) for row in range(start, end)]
                for row, found in zip(scores[start:end], judged, strict=True):
                    row[found.hidden] = _NEVER
                bounds = reached_by(scores[start:end], shown)
                for at, row, found, bound in zip(
                    range(first + start, first + end), scores[start:end], judged, bounds, strict=True
                ):
                    place = _look_up(row, found.right, bound, shown)
                    ranked[at], tied[at] = place.ranks, place.tied
                    best[at, : len(place.best)] = place.best
                    candidates[at] = gallery - len(found.hidden)

            over_rows(len(scores), work, pool)
            if on_rows is not None:
                on_rows(len(scores))
    lengths = np.array([len(ranks) for ranks in ranked], np.int64)
    return Ranks(
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        ranks=np.concatenate([np.zeros(0, np.int64), *ranked]),
        candidates=candidates,
        tied=tied,
        best=best,
    )


def plain_blocks(query: Rows, gallery: Rows) -> Callable[[int], Blocks]:
    """Blocks of scores by the distance itself."""

    def blocks(rows: int) -> Blocks:
        for first in range(0, len(query), rows):
            yield first, scores_of(query.values[first : first + rows], gallery)

    return blocks


def block_rows(columns: int) -> int:
    """How many rows of so many scores make a block."""
    return max(1, _BLOCK_BYTES // (4 * max(1, columns)))


def _look_up(row: Floats, right: Integers, bound: np.float32, shown: int) -> _Found:
    """Where the right answers of a row of scores stand. At least `shown` scores reach `bound`."""
    scores = row[right]
    near = np.flatnonzero(row >= min(scores.min(initial=bound), bound))
    values = row[near]
    first = np.flatnonzero(values >= bound)
    best = near[first[np.argsort(-values[first], kind="stable")[:shown]]]
    ascending = np.sort(values)
    above = np.searchsorted(ascending, scores, "right")
    ranks: Integers = len(ascending) - above
    equals = above - np.searchsorted(ascending, scores, "left")
    tied = False
    for at in np.flatnonzero(equals > 1).tolist():
        same = near[values == scores[at]]
        ranks[at] += np.searchsorted(same, right[at])
        tied = tied or not np.isin(same, right).all()
    ranks.sort()
    return _Found(ranks=ranks, tied=tied, best=best[row[best] > _NEVER])
