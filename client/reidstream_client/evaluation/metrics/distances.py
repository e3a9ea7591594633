"""Cosine and euclidean distance, as scores: larger is nearer, and one product of matrices makes a block of them.

cosine: rows are scaled to length 1 first, and the score is the cosine.
euclidean: the score is q.g - |g|^2 / 2. For one query it is in the order of the distances, since
|q - g|^2 = |q|^2 - 2 (q.g - |g|^2 / 2).

Trap: which distance is meant changes published figures by more than many models differ. So no function has a default
for it, and every report names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError

Floats: TypeAlias = npt.NDArray[np.float32]

_STEP: Final = 256


class Distance(Enum):
    """How far two vectors are apart."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Vectors, ready for products. `values` (N, D) float32. `offsets` (N,) is subtracted from the products with each
    row; None: nothing. `own` (N,): a row's score with itself.
    """

    distance: Distance
    values: Floats
    offsets: Floats | None
    own: Floats

    def __len__(self) -> int:
        return len(self.values)

    def squared(self, scores: Floats, own: Floats) -> Floats:
        """Squared euclidean distances, of rows whose scores with themselves are `own`, broadcast. For cosine those of
        rows of length 1, which are 2 - 2 cos.
        """
        distances: Floats = np.maximum(2 * (own - scores), 0)
        return distances

    def distances(self, scores: Floats, own: Floats) -> Floats:
        """As people know them: 1 - cosine, or the euclidean distance."""
        squared = self.squared(scores, own)
        return np.asarray(squared / 2 if self.distance is Distance.COSINE else np.sqrt(squared), np.float32)


def prepare(vectors: npt.ArrayLike, distance: Distance, names: tuple[str, ...] | None = None) -> Rows:
    """Vectors (N, D) for a distance. Raises FileError for what has no distance: NaN, and a zero vector under cosine;
    `names` is for the message.
    """
    values = np.ascontiguousarray(vectors, np.float32)
    if values.ndim != 2:  # noqa: PLR2004 - a matrix
        raise FileError(f"vectors must be a matrix of one row each, and are of shape {values.shape}")
    sums = _squares(values)  # NaN and infinities stay what they are
    if not np.isfinite(sums).all():
        _refuse(~np.isfinite(sums), names, "has a number that is not finite (NaN or infinity)")
    if distance is Distance.COSINE:
        if not (sums > 0).all():
            _refuse(sums <= 0, names, "is zero, and has no cosine; was the picture embedded?")
        values = np.multiply(values, (1 / np.sqrt(sums)).astype(np.float32)[:, None], dtype=np.float32)
        return Rows(distance=distance, values=values, offsets=None, own=np.ones(len(values), np.float32))
    half = np.asarray(sums / 2, np.float32)
    return Rows(distance=distance, values=values, offsets=half, own=half)


def scores_of(queries: Floats, gallery: Rows, out: Floats | None = None) -> Floats:
    """(Q, G) scores of rows that were prepared for the same distance."""
    product: Floats = np.matmul(queries, gallery.values.T, out=out)
    if gallery.offsets is not None:
        product -= gallery.offsets
    return product


def _squares(values: Floats) -> npt.NDArray[np.float64]:
    """The sum of squares of each row, in float64, a few rows at a time."""
    sums = np.zeros(len(values))
    for first in range(0, len(values), _STEP):
        part = values[first : first + _STEP].astype(np.float64)
        sums[first : first + _STEP] = np.einsum("nd,nd->n", part, part)
    return sums


def _refuse(wrong: npt.NDArray[np.bool_], names: tuple[str, ...] | None, why: str) -> None:
    row = int(np.flatnonzero(wrong)[0])
    which = f"of {names[row]}" if names is not None else f"in row {row}"
    more = f" ({int(wrong.sum())} vectors are so)" if wrong.sum() > 1 else ""
    raise FileError(f"the vector {which} {why}{more}")
