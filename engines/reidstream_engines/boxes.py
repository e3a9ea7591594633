"""From float boxes to whole pixels: the rule that client, server and golden vectors share.

Why plain Python floats: a frame has few boxes, and eight calls here cost less than making one array. Traps: Python's
`round` rounds halves to even, which is the rule. Clipping comes first, so that no huge or infinite number is rounded.
DeepStream has a rule of its own: it truncates before it aligns, and it aligns the width, not the right edge.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TypeAlias

from typing_extensions import assert_never

from .image import PixelBox
from .spec import CropRule, InputSpec

Rect: TypeAlias = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in pixels; (x2, y2) is exclusive."""

_CORNER_NOISE = 2.0**-10
"""Corners come as float32: below 8192 the difference of two is off by at most this, so 32 may arrive as 31.9995."""


class BoxFault(Enum):
    """Why a box has no pixels."""

    INVALID = "invalid"
    OUTSIDE = "outside"
    TOO_SMALL = "too_small"


def resolve(rect: Rect, *, width: int, height: int, rule: CropRule, min_px: int) -> PixelBox | BoxFault:
    """The pixels of the box `rect` in an image of `width` x `height`; takes about two microseconds. Any thread.

    INVALID: a coordinate is not finite, or the corners are out of order. OUTSIDE: no part of it lies in the image.
    TOO_SMALL: after clipping and rounding it is less than `min_px` (at least 1) wide or high.
    """
    x1, y1, x2, y2 = rect
    if not (-math.inf < x1 < x2 < math.inf and -math.inf < y1 < y2 < math.inf):  # nan is in no order
        return BoxFault.INVALID
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return BoxFault.OUTSIDE
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
    match rule:
        case CropRule.EXACT:
            left, top, right, bottom = round(x1), round(y1), round(x2), round(y2)
        case CropRule.EVEN_ALIGNED:
            left, right = _even(x1, x2, width)
            top, bottom = _even(y1, y2, height)
        case _:
            assert_never(rule)
    if right - left < min_px or bottom - top < min_px:
        return BoxFault.TOO_SMALL
    return PixelBox(x1=left, y1=top, x2=right, y2=bottom)


def quality(rect: Rect, box: PixelBox, input_spec: InputSpec) -> float:
    """How good the crop of a box is, 0 to 1; `box` is what `resolve` made of `rect`.

    The share of the box that its crop holds (the image's edge and rounding may cut some off), times the share of the
    network's input that the crop fills without being enlarged. Width and height are treated separately, so that pixels
    gained on one side by rounding do not hide pixels lost on the other.
    """
    x1, y1, x2, y2 = rect
    visible = min(1.0, box.width / (x2 - x1)) * min(1.0, box.height / (y2 - y1))
    return visible * min(1.0, box.width / input_spec.width) * min(1.0, box.height / input_spec.height)


def _even(start: float, end: float, limit: int) -> tuple[int, int]:
    """As nvinfer aligns: the start is truncated, then raised to even; the length is truncated, then lowered to even.

    Raising the start may push the end beyond an odd edge of the image; the box then loses two more pixels.
    """
    first = int(start)
    first += first % 2
    length = int(end - start + _CORNER_NOISE)
    length -= length % 2
    return first, first + length if first + length <= limit else first + length - 2
