"""The caller's boxes, class ids, scores and track ids, as arrays of one shape.

Why named helpers: trackers use three conventions, and one read as another still looks like boxes, while retrieval
quietly falls to chance. Nothing here guesses: boxes are (x1, y1, x2, y2) unless a helper says otherwise. Trap: boxes
with wrong values (NaN, corners out of order) are sent all the same. The server gives each its own outcome, and the
other boxes are embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import InvalidRequest

BoxArray: TypeAlias = npt.NDArray[np.float32]

_CORNERS = 4


def parse_boxes(boxes: npt.ArrayLike) -> BoxArray:
    """(N, 4) float32 (x1, y1, x2, y2) of anything like an array; [] gives (0, 4). Raises InvalidRequest."""
    return _numbers(boxes, "boxes must be (N, 4) numbers x1, y1, x2, y2").astype(np.float32)


def from_ltwh(boxes: npt.ArrayLike) -> BoxArray:
    """(N, 4) float32 corners of (N, 4) boxes (left, top, width, height): MOTChallenge's and DeepSORT's way."""
    ltwh = _numbers(boxes, "boxes must be (N, 4) numbers left, top, width, height")
    return np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1).astype(np.float32)


def from_cxcywh(boxes: npt.ArrayLike) -> BoxArray:
    """(N, 4) float32 corners of (N, 4) boxes (centre x, centre y, width, height): YOLO's way."""
    cxcywh = _numbers(boxes, "boxes must be (N, 4) numbers centre x, centre y, width, height")
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1).astype(np.float32)


def parse_ids(ids: npt.ArrayLike | None, name: str, count: int, bits: int) -> Sequence[int] | None:
    """`count` integers of 0 to 2**bits - 1, or None. Raises InvalidRequest."""
    if ids is None:
        return None
    array = np.asarray(ids)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidRequest(f"{name} must be integers, not {array.dtype}")
    _check_count(array, name, count)
    values: list[int] = array.tolist()
    if any(not 0 <= value < 1 << bits for value in values):
        raise InvalidRequest(f"{name} must lie in 0 to {(1 << bits) - 1}, not {min(values)} to {max(values)}")
    return values


def parse_scores(scores: npt.ArrayLike | None, count: int) -> Sequence[float] | None:
    """`count` numbers, or None. Raises InvalidRequest."""
    if scores is None:
        return None
    array = np.asarray(scores)
    if array.dtype.kind not in "iuf":
        raise InvalidRequest(f"scores must be numbers, not {array.dtype}")
    _check_count(array, "scores", count)
    values: list[float] = array.tolist()
    return values


def _check_count(array: npt.NDArray[np.generic], name: str, count: int) -> None:
    if array.shape != (count,):
        raise InvalidRequest(f"{name} must have one entry per box, shape ({count},), not {array.shape}")


def _numbers(boxes: npt.ArrayLike, expected: str) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(boxes)
    except ValueError:  # rows of different lengths
        raise InvalidRequest(f"{expected}, not rows of different lengths") from None
    if array.dtype.kind not in "iuf":
        raise InvalidRequest(f"{expected}, not an array of {array.dtype}")
    if array.size == 0 and array.ndim <= 2:  # noqa: PLR2004 - [] is one-dimensional, zeros((0, 4)) is two-dimensional
        return np.zeros((0, _CORNERS))
    if array.ndim != 2 or array.shape[1] != _CORNERS:  # noqa: PLR2004 - rows and columns
        hint = "; one box is [[...]]" if array.shape == (_CORNERS,) else ""
        raise InvalidRequest(f"{expected}, not shape {array.shape}{hint}")
    return array.astype(np.float64)
