"""What a track keeps of its rows, and what its end tells of them.

For a row r of weight w:

    weight      w = max(quality, 0.001), or 1 for TrackVector.MEAN; rounded to float32
    sum         S = sum of w r, added up in float32, one row after the other;  W = sum of w
    vector      S / W; of unit rows S / |S|. ROBUST: first the odd row is left out, if it is far from the others.

    odd row     of the kept rows the one with the least cosine to the sum without it, S - w r.
                Far: 1 - cos(r, S - w r) > FAR x e. e is what the same person's next row may be expected to have:
                R = |S - w r| / (W - w) is the length of the others' mean, n their number. If any two of them have the
                cosine c on average, then n R^2 = 1 + (n - 1) c, and a further row has the cosine c / R to their mean.
                So e = 1 - c / R. At least three others must be there, and all rows must be unit rows.

    kept        at most 4 rows. Of 5, one goes: not the one of the largest weight, not the odd one, but of the other
                three the one of the least w x (1 - its largest cosine to another of the 5).
    representatives   of the kept rows, without the odd one if it is far: first the one of the largest weight, then
                again and again the one of the largest w x (1 - its largest cosine to those chosen).

Why weights and not the best row alone: a crop of high quality can still show the wrong person, a back, or a shadow.
Why one odd row and no more: a wrong match is rare in a track, and a sum can give back only rows that were kept.

Traps: with TrackVector.MEAN a row's weight in the sum is 1, and no row is left out. And the sum is made of float32
products and sums, one by one, so that a server that goes on with a snapshot has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from .sighting import single
from .terms import TrackVector

Vector: TypeAlias = npt.NDArray[np.float32]
"""(dim,)"""

_Doubles: TypeAlias = npt.NDArray[np.float64]

MAX_KEPT: Final = 4
LEAST_WEIGHT: Final = 0.001
FAR: Final = 3.0
_LEAST_OTHERS = 3
_LEAST_EXPECTED = 1e-4  # of others that are all alike: rows of one crop, rounded to float16, are that far apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackRow:
    """A row as it was answered. `quality`: of its box, rounded to float32. `taken_ns`: when its frame was taken."""

    vector: Vector
    frame_id: int
    quality: float
    taken_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptRow:
    """A row that a track keeps apart, and its weight in the sum."""

    vector: Vector
    frame_id: int
    weight: float


@dataclass(slots=True, kw_only=True, eq=False)
class TrackRows:
    """The rows of one track. The arguments after `vector_of` are those of a track that another server had.

    `unit`: the model's rows have L2 norm 1. `total`: their weighted sum. Its arrays are its own.
    """

    dim: int
    unit: bool
    vector_of: TrackVector
    total: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    weight: float = 0.0
    count: int = 0
    latest: TrackRow | None = None
    kept: tuple[KeptRow, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.total):
            self.total = np.zeros(self.dim, np.float32)

    @property
    def nbytes(self) -> int:
        """Of the vectors that it holds. One that is kept and the latest counts twice."""
        return 4 * self.dim * (1 + (self.latest is not None) + len(self.kept))

    def add(self, row: TrackRow) -> None:
        """Take a new row, (dim,) float32; it is copied, so the caller's array may go."""
        vector = np.array(row.vector, np.float32)
        weight = self._weight(row.quality)
        self.total += np.float32(weight) * vector
        self.weight += weight
        self.count += 1
        self.latest = TrackRow(vector=vector, frame_id=row.frame_id, quality=row.quality, taken_ns=row.taken_ns)
        self.kept = (*self.kept, KeptRow(vector=vector, frame_id=row.frame_id, weight=weight))
        if len(self.kept) > MAX_KEPT:
            gone = self._least_useful()
            self.kept = tuple(row for index, row in enumerate(self.kept) if index != gone)

    def vector(self) -> Vector:
        """The track's vector (dim,). Raises LookupError without a row."""
        if self.latest is None:
            raise LookupError("the track has no row")
        odd = self._far_row()
        total, weight = self.total, self.weight
        if odd is not None:
            total, weight = _without(total, self.kept[odd]), weight - self.kept[odd].weight
        if not self.unit:
            return np.asarray(total / np.float32(weight), np.float32)
        length = np.linalg.norm(total)
        return np.asarray(total / length, np.float32) if length > 0 else self.latest.vector.copy()

    def left_out(self) -> KeptRow | None:
        """The row that is not in the vector, because it is far from the others."""
        odd = self._far_row()
        return None if odd is None else self.kept[odd]

    def representatives(self, most: int) -> tuple[KeptRow, ...]:
        """At most `most` rows: the best one first, then those that differ from it, and from each other, most."""
        odd = self._far_row()
        left = [row for index, row in enumerate(self.kept) if index != odd]
        chosen: list[KeptRow] = []
        while left and len(chosen) < most:
            index = int(np.argmax([row.weight for row in left] if not chosen else _new_in(left, chosen)))
            chosen.append(left.pop(index))
        return tuple(chosen)

    def _weight(self, quality: float) -> float:
        match self.vector_of:
            case TrackVector.MEAN:
                return 1.0
            case TrackVector.ROBUST:
                return single(max(quality, LEAST_WEIGHT))

    def _least_useful(self) -> int:
        """The index of the kept row that goes."""
        weights, matrix = _weights(self.kept), _matrix(self.kept)
        products = matrix @ matrix.T
        worth = weights * _distances(products)
        worth[weights.argmax()] = worth[self._fits(matrix, products, weights).argmin()] = np.inf
        return int(worth.argmin())

    def _odd(self) -> tuple[int, float]:
        """The kept row that fits the others least, and its cosine to their sum."""
        matrix = _matrix(self.kept)
        fits = self._fits(matrix, matrix @ matrix.T, _weights(self.kept))
        odd = int(fits.argmin())
        return odd, float(fits[odd])

    def _fits(self, matrix: _Doubles, products: _Doubles, weights: _Doubles) -> _Doubles:
        """The cosine of each kept row r to S - w r, which need not be made: all follows from products with S."""
        total = self.total.astype(np.float64)
        own, to_total = products.diagonal(), matrix @ total
        others = np.maximum(total @ total - 2 * weights * to_total + weights**2 * own, 0.0)
        return _over(to_total - weights * own, np.sqrt(own * others))

    def _far_row(self) -> int | None:
        """The index of the kept row that is left out of the vector, if one is."""
        others = self.count - 1
        if self.vector_of is TrackVector.MEAN or not self.unit or others < _LEAST_OTHERS:
            return None
        odd, cosine = self._odd()
        mean = _without(self.total, self.kept[odd]).astype(np.float64) / (self.weight - self.kept[odd].weight)
        length = float(np.linalg.norm(mean))
        if length <= 0:
            return None
        alike = (others * length**2 - 1) / (others - 1)
        expected = max(1 - alike / length, _LEAST_EXPECTED)
        return odd if 1 - cosine > FAR * expected else None


def _without(total: Vector, row: KeptRow) -> Vector:
    return np.asarray(total - np.float32(row.weight) * row.vector, np.float32)


def _matrix(rows: Sequence[KeptRow]) -> _Doubles:
    """(n, dim); in float64, where the rounding of products decides nothing."""
    return np.array([row.vector for row in rows], np.float64)


def _weights(rows: Sequence[KeptRow]) -> _Doubles:
    return np.array([row.weight for row in rows])


def _over(products: _Doubles, lengths: _Doubles) -> _Doubles:
    """Cosines; 0 where a vector has no length."""
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def _distances(products: _Doubles) -> _Doubles:
    """1 - cosine of each row to the one of the others that is most like it; `products`: of each with each."""
    lengths = np.sqrt(products.diagonal())
    cosines = _over(products, np.outer(lengths, lengths))
    np.fill_diagonal(cosines, -1.0)
    return np.asarray(1.0 - cosines.max(axis=1), np.float64)


def _new_in(left: Sequence[KeptRow], chosen: Sequence[KeptRow]) -> _Doubles:
    """How much each row of `left` adds to those chosen: its weight times its distance from the nearest of them."""
    some, others = _matrix(left), _matrix(chosen)
    lengths = np.outer(np.linalg.norm(some, axis=1), np.linalg.norm(others, axis=1))
    cosines = _over(some @ others.T, lengths)
    return np.asarray(_weights(left) * (1.0 - cosines.max(axis=1)), np.float64)
