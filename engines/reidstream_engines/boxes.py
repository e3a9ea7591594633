"""From float boxes to whole pixels: the rule that client, server and golden vectors share.

Why pure Python floats: a frame has a handful of boxes, and eight calls here cost less than making one array. Trap:
Python's `round` is half to even for exact halves, which is the rule; clipping comes first, so that nothing huge or
infinite is ever rounded.
"""

from __future__ import annotations

import math
from enum import Enum

from typing_extensions import assert_never

from .image import PixelBox
from .spec import CropRule, InputSpec

Rect = tuple[float, float, float, float]


class BoxFault(Enum):
    """Why a box has no pixels."""

    INVALID = "invalid"
    OUTSIDE = "outside"
    TOO_SMALL = "too_small"


def resolve(rect: Rect, *, width: int, height: int, rule: CropRule, min_px: int) -> PixelBox | BoxFault:
    """The pixels of the box `rect` (x1, y1, x2, y2) in an image of `width` x `height`.

    INVALID for what is not finite or has its corners out of order; OUTSIDE if nothing of it lies in the image;
    TOO_SMALL if what is left after clipping and rounding is less than `min_px` (at least 1) wide or high.
    """
    x1, y1, x2, y2 = rect
    if not (math.isfinite(x1) and math.isfinite(y1) and math.isfinite(x2) and math.isfinite(y2)):
        return BoxFault.INVALID
    if x2 <= x1 or y2 <= y1:
        return BoxFault.INVALID
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return BoxFault.OUTSIDE
    left, right = round(max(x1, 0.0)), round(min(x2, width))
    top, bottom = round(max(y1, 0.0)), round(min(y2, height))
    match rule:
        case CropRule.EXACT:
            pass
        case CropRule.EVEN_ALIGNED:
            left, right = _even(left, right)
            top, bottom = _even(top, bottom)
        case _:
            assert_never(rule)
    if right - left < min_px or bottom - top < min_px:
        return BoxFault.TOO_SMALL
    return PixelBox(x1=left, y1=top, x2=right, y2=bottom)


def quality(rect: Rect, box: PixelBox, input_spec: InputSpec) -> float:
    """How much picture there is to look at, 0 to 1.

    The share of the box `rect` that lies in the image, times the share of the network's input pixels that it fills
    without being enlarged.
    """
    area = (rect[2] - rect[0]) * (rect[3] - rect[1])
    visible = min(1.0, box.width * box.height / area)
    return visible * min(1.0, box.width / input_spec.width) * min(1.0, box.height / input_spec.height)


def _even(start: int, end: int) -> tuple[int, int]:
    """Start up to even, length down to even, as DeepStream aligns its crops."""
    aligned = start + start % 2
    length = end - start
    return aligned, min(aligned + length - length % 2, end - (end - aligned) % 2)
