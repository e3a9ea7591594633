"""Boxes in JSON: [[x1, y1, x2, y2], ...], or objects with these and more.

    [{"x1": 10, "y1": 20, "x2": 60, "y2": 140, "class_id": 0, "score": 0.9}, ...]

Traps: a box that cannot be cut is no error of the call: it has an outcome of its own. But what is no box at all is. And
a megabyte of JSON may have 100,000 boxes, which take the event loop a second: they are counted before they are read.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from reidstream_engines.boxes import Rect
from reidstream_server.errors import InvalidCall

_SIDES = ("x1", "y1", "x2", "y2")
_KEYS = (*_SIDES, "class_id", "score")
_MOST_CLASS = 2**32 - 1


class AskedBox(NamedTuple):
    """`rect` in pixels of the picture."""

    rect: Rect
    class_id: int | None = None
    score: float | None = None


def parse_boxes(text: str, most: int) -> list[AskedBox]:
    """Raises InvalidCall, with the number of the first box that is wrong."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidCall(f"boxes is not JSON: {error}; write it as [[x1, y1, x2, y2], ...]") from None
    if not isinstance(found, list):
        raise InvalidCall("boxes must be a list: [[x1, y1, x2, y2], ...]")
    if len(found) > most:
        raise InvalidCall(f"boxes has {len(found)} boxes; the limit is {most} (max_boxes_per_frame)")
    return [_box(index, item) for index, item in enumerate(found)]


def _box(index: int, item: object) -> AskedBox:
    match item:
        case [x1, y1, x2, y2]:
            return AskedBox(_rect(index, (x1, y1, x2, y2)))
        case dict():
            unknown = [key for key in item if key not in _KEYS]
            if unknown:
                raise InvalidCall(f"boxes[{index}] has {unknown[0][:64]!r}; a box takes {', '.join(_KEYS)}")
            return AskedBox(
                _rect(index, tuple(item.get(side) for side in _SIDES)),
                _class(index, item.get("class_id")),
                None if item.get("score") is None else _number(index, "score", item["score"]),
            )
        case _:
            raise InvalidCall(f"boxes[{index}] is no box; write it as [x1, y1, x2, y2]")


def _rect(index: int, sides: tuple[object, ...]) -> Rect:
    x1, y1, x2, y2 = (_number(index, name, value) for name, value in zip(_SIDES, sides, strict=True))
    return x1, y1, x2, y2


def _number(index: int, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidCall(f"boxes[{index}].{name} is not a number; a box needs x1, y1, x2 and y2, in pixels")
    return float(value)


def _class(index: int, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_CLASS:
        raise InvalidCall(f"boxes[{index}].class_id must be a whole number from 0 to {_MOST_CLASS}")
    return value
