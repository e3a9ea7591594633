"""The caller's boxes, class ids, scores and track ids, as arrays of one shape.

Why named helpers: trackers use three conventions, and one read as another still looks like boxes, while retrieval
quietly falls to chance. Nothing here guesses: boxes are (x1, y1, x2, y2) unless a helper says otherwise. Trap: boxes
with wrong values (NaN, corners out of order) are sent all the same. The server gives each its own outcome, and the
other boxes are embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.checks import shown
from reidstream_client.errors import InvalidRequest

BoxArray: TypeAlias = npt.NDArray[np.float32]

_CORNERS = 4
_TRACK_IDS = "track_ids"
_NO_TRACK = -1


def parse_boxes(boxes: npt.ArrayLike, name: str = "boxes") -> BoxArray:
    """(N, 4) float32 (x1, y1, x2, y2) of anything like an array; [] gives (0, 4). Raises InvalidRequest."""
    return _to_float32(_numbers(boxes, f"{name} must be (N, 4) numbers x1, y1, x2, y2", name))


def from_ltwh(boxes: npt.ArrayLike) -> BoxArray:
    """(N, 4) float32 corners of (N, 4) boxes (left, top, width, height): MOTChallenge's and DeepSORT's way."""
    ltwh = _numbers(boxes, "boxes must be (N, 4) numbers left, top, width, height", "boxes").astype(np.float64)
    return _to_float32(np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1))


def from_cxcywh(boxes: npt.ArrayLike) -> BoxArray:
    """(N, 4) float32 corners of (N, 4) boxes (centre x, centre y, width, height): YOLO's way."""
    expected = "boxes must be (N, 4) numbers centre x, centre y, width, height"
    cxcywh = _numbers(boxes, expected, "boxes").astype(np.float64)
    half = cxcywh[:, 2:] / 2
    return _to_float32(np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1))


def parse_ids(ids: npt.ArrayLike | None, name: str, count: int, bits: int) -> Sequence[int] | None:
    """`count` integers of 0 to 2**bits - 1, or None; a detector's float ids are taken if they are whole.

    Raises InvalidRequest.
    """
    if ids is None:
        return None
    array = _array(ids, name)
    if array.size == 0 or (array.dtype.kind == "f" and bool((np.isfinite(array) & (array == np.floor(array))).all())):
        # A float64 holds every id up to 2**53; beyond that Python's int says what the float is.
        array = array.astype(object if array.size and np.abs(array).max() >= 2**63 else np.int64)
    elif array.dtype.kind not in "iu":
        raise InvalidRequest(f"{name} must be integers, not {_kind(array)}{_id_advice(array, name)}")
    _check_count(array, name, count)
    values: list[int] = [int(value) for value in array] if array.dtype == object else array.tolist()
    if any(not 0 <= value < 1 << bits for value in values):
        advice = f"; leave {name} out where there are none" if min(values) < 0 else ""
        if advice and name == _TRACK_IDS:
            advice = "; give -1 for a box without a track"
        raise InvalidRequest(f"{name} must lie in 0 to {(1 << bits) - 1}, not {min(values)} to {max(values)}{advice}")
    return values


def parse_track_ids(ids: npt.ArrayLike | None, count: int) -> Sequence[int | None] | None:
    """`count` ids of 64 bits, or None; -1, or None in a list, is the id of a box without a track.

    Raises InvalidRequest.
    """
    if ids is None:
        return None
    items: Sequence[Any]
    if isinstance(ids, list | tuple):  # numpy would make objects of a None, and floats of large ids beside a -1
        _check_count(np.empty(len(ids)), _TRACK_IDS, count)
        items = ids
    else:
        array = _array(ids, _TRACK_IDS)
        if array.dtype.kind not in "if" or array.shape != (count,):
            return parse_ids(array, _TRACK_IDS, count, 64)
        items = array.tolist()
    present = [item for item in items if not _is_none(item)]
    found = iter(parse_ids(present, _TRACK_IDS, len(present), 64) or ())
    return [None if _is_none(item) else next(found) for item in items]


def _is_none(item: object) -> bool:
    return item is None or (isinstance(item, int | float | np.integer | np.floating) and item == _NO_TRACK)


def parse_scores(scores: npt.ArrayLike | None, count: int) -> Sequence[float] | None:
    """`count` numbers, or None. Raises InvalidRequest."""
    if scores is None:
        return None
    array = _array(scores, "scores")
    if array.dtype.kind not in "iuf":
        raise InvalidRequest(f"scores must be numbers, not {_kind(array)}")
    _check_count(array, "scores", count)
    values: list[float] = array.tolist()
    return values


def _check_count(array: npt.NDArray[np.generic], name: str, count: int) -> None:
    if array.shape != (count,):
        advice = ""
        if not array.ndim:
            advice = f"; give {name}=[...], one for each box"
        elif array.size == count:
            advice = f"; give {name}.reshape(-1)"
        raise InvalidRequest(f"{name} must have one entry per box, shape ({count},), not {array.shape}{advice}")


def _numbers(boxes: npt.ArrayLike, expected: str, name: str) -> npt.NDArray[Any]:
    """(N, 4) of any dtype that is a number."""
    array = _array(boxes, expected)
    if array.dtype.kind not in "iuf":
        given = f"an array of {_kind(array)}" if array.ndim else shown(boxes)
        raise InvalidRequest(f"{expected}, not {given}{_object_advice(boxes, name)}")
    if array.size == 0 and array.ndim <= 2:  # noqa: PLR2004 - [] is one-dimensional, zeros((0, 4)) is two-dimensional
        return np.zeros((0, _CORNERS))
    if array.ndim != 2 or array.shape[1] != _CORNERS:  # noqa: PLR2004 - rows and columns
        given = f"shape {array.shape}" if array.ndim else shown(boxes)
        raise InvalidRequest(f"{expected}, not {given}{_shape_advice(array.shape, name)}")
    return array


def _array(given: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError as error:
        if isinstance(given, list | tuple):
            raise InvalidRequest(f"{what}, not rows of different lengths") from None
        raise InvalidRequest(f"{what}, not {shown(given)}, which numpy cannot read: {error}") from None
    except Exception as error:  # noqa: BLE001 - whatever another package raises: a tensor on a GPU, or with gradients
        advice = f"give {what.partition(' ')[0]}.detach().cpu().numpy()"
        raise InvalidRequest(f"{what}, not {shown(given)}, which numpy cannot read: {advice} ({error})") from None


def _to_float32(array: npt.NDArray[Any]) -> BoxArray:
    """Numbers too large for it become infinite, and the server says so of their boxes."""
    if array.dtype.itemsize <= 4:  # noqa: PLR2004 - bytes; no number of these is too large
        return array.astype(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _kind(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "O":
        return "objects (is there a None among them?)" if array.ndim else "one object"
    return str(array.dtype)


def _id_advice(array: npt.NDArray[Any], name: str) -> str:
    return (
        ", and some are not whole" if array.dtype.kind == "f" else f"; {name} are numbers" * (array.dtype.kind in "US")
    )


def _object_advice(boxes: object, name: str) -> str:
    if hasattr(boxes, "xyxy"):
        return f"; give {name}.xyxy"
    return "; give a list of them" if hasattr(boxes, "__next__") else ""


def _shape_advice(shape: tuple[int, ...], name: str) -> str:
    match shape:
        case (4,):
            return "; one box is [[...]]"
        case (_, 5 | 6 | 7 | 8):
            return (
                f"; give {name}[:, :4], and the other columns by their names, such as scores={name}[:, 4], "
                f"class_ids={name}[:, 5] or track_ids={name}[:, 4]"
            )
        case (4, _):
            return f"; give {name}.T"
        case (1, _, 4):
            return f"; give {name}[0]"
        case (_, 2, 2) | (_, 1, 4):
            return f"; give {name}.reshape(-1, 4)"
        case _:
            return ""
