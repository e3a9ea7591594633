"""One box as its track sees it: where it is, how good its crop is, and how much the frame's other boxes overlap it.

For all boxes of a frame at once:

    overlap(i)    = the largest intersection over union of box i with another box
    covered(i, j) = the share of box i that box j covers
    hidden(i)     = 1 - product over all boxes j in front of i of (1 - covered(i, j))

    quality(i)    = visible share x enlargement (`engines.boxes.quality`) x (1 - hidden(i))

Of each box only the part in the picture counts. Box j is in front of box i if its bottom edge is lower: people stand on
one floor, and the camera looks down on it. At the same bottom edge (two people cut off by the picture's edge) the
larger one is in front; of two equal boxes neither is. The product takes covers for independent. One cover, which is the
usual case, is exact.

Trap: a box covers what is in it, also the gaps around a body, so `hidden` says too much rather than too little. And
whoever is hidden by something that is no box, such as a pillar, is not known to be hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Rect: TypeAlias = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels of the source frame; (x2, y2) is exclusive."""

Shares: TypeAlias = npt.NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_AT_ONCE = 128  # boxes that are compared with all others at a time: a thousand boxes then take a few MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A box of a track. Made by `sighting`, which rounds each number as the wire does."""

    track_id: int
    rect: Rect
    quality: float
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Geometry:
    """How the boxes of one frame lie to each other; each (n,), 0 to 1."""

    overlap: Shares
    hidden: Shares


def sighting(track_id: int, rect: Rect, *, crop_quality: float, overlap: float, hidden: float) -> Sighting:
    """The box of a track. `crop_quality`: visible share x enlargement. `overlap`, `hidden`: from `geometry`."""
    x1, y1, x2, y2 = rect
    return Sighting(
        track_id=track_id,
        rect=(single(x1), single(y1), single(x2), single(y2)),
        quality=single(crop_quality * (1.0 - hidden)),
        overlap=overlap,
    )


def geometry(rects: npt.ArrayLike, *, width: float, height: float) -> Geometry:
    """How boxes (n, 4) lie to each other in a picture of `width` x `height`, both in the same pixels.

    Give all boxes of the frame: also those that get no row hide others. A box that is not finite, is empty, has its
    corners out of order, or lies outside counts as absent: it hides nobody, and both its shares are 0. Ten boxes take a
    twentieth of a millisecond, a thousand some ten milliseconds.
    """
    given = np.asarray(rects, np.float64).reshape(-1, 4)
    overlap, hidden = np.zeros(len(given)), np.zeros(len(given))
    with np.errstate(invalid="ignore"):
        seen = np.clip(given, 0.0, [width, height, width, height])
        there = np.flatnonzero(np.isfinite(given).all(axis=1) & (seen[:, :2] < seen[:, 2:]).all(axis=1))
    if len(there) > 1:
        boxes = _Boxes.of(given[there], seen[there])
        for start in range(0, len(there), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            overlap[there[some]], hidden[there[some]] = boxes.shares(some)
    return Geometry(overlap=overlap, hidden=hidden)


def single(value: float) -> float:
    """As a float of the wire holds it: a finite number stays finite."""
    return float(np.float32(max(-_LARGEST, min(_LARGEST, value))))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Boxes:
    """Boxes by their edges in the picture, each (n,). `bottom`, `size`: of the whole box, also outside."""

    x1: Shares
    y1: Shares
    x2: Shares
    y2: Shares
    area: Shares
    bottom: Shares
    size: Shares

    @classmethod
    def of(cls, given: Shares, seen: Shares) -> _Boxes:
        x1, y1, x2, y2 = np.ascontiguousarray(seen.T)
        size = (given[:, 2] - given[:, 0]) * (given[:, 3] - given[:, 1])
        return cls(x1=x1, y1=y1, x2=x2, y2=y2, area=(x2 - x1) * (y2 - y1), bottom=given[:, 3].copy(), size=size)

    def shares(self, some: slice) -> tuple[Shares, Shares]:
        """Overlap and hidden share of the boxes of `some`, each against all."""
        common = _common(self.x1, self.x2, some) * _common(self.y1, self.y2, some)
        area, rows = self.area[some, None], np.arange(len(common))
        common[rows, some.start + rows] = 0.0
        overlap = (common / (area + self.area - common)).max(axis=1)
        bottom, size = self.bottom[some, None], self.size[some, None]
        behind = (self.bottom < bottom) | ((self.bottom == bottom) & (self.size <= size))
        common[behind] = 0.0
        return overlap, 1.0 - np.prod(1.0 - np.minimum(common / area, 1.0), axis=1)


def _common(starts: Shares, ends: Shares, some: slice) -> Shares:
    """(m, n): the length that each of m stretches has in common with each of n."""
    length = np.minimum(ends[some, None], ends) - np.maximum(starts[some, None], starts)
    return np.asarray(np.maximum(length, 0.0, out=length), np.float64)
