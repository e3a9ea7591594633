"""Turns decoded pixels as a picture's EXIF says.

Why after decoding: then a box of the turned picture is cut as any other box, on the CPU and on a GPU, and has the
pixels that `cv2.imread` gives, bit for bit. A frame of 1920x1080 takes about a millisecond. Trap: OpenCV's flips are
named by the axis that stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_engines.image import Orientation

Bytes = npt.NDArray[np.uint8]

_LEFT_RIGHT, _UP_DOWN, _BOTH = 1, 0, -1
_FLIPS: Mapping[Orientation, int] = {
    Orientation.MIRROR: _LEFT_RIGHT,
    Orientation.HALF_TURN: _BOTH,
    Orientation.FLIP: _UP_DOWN,
    Orientation.TURN_RIGHT: _LEFT_RIGHT,
    Orientation.TRANSVERSE: _BOTH,
    Orientation.TURN_LEFT: _UP_DOWN,
}


def turn_pixels(stored: Bytes, turn: Orientation, out: Bytes) -> None:
    """Fill `out` with the pixels of `stored`, (H, W, 3), turned; where sides change places `out` is (W, H, 3)."""
    flip = _FLIPS.get(turn)
    if flip is None:
        cv2.transpose(stored, dst=out) if turn.swaps_sides else np.copyto(out, stored)
    else:
        cv2.flip(cv2.transpose(stored) if turn.swaps_sides else stored, flip, dst=out)
