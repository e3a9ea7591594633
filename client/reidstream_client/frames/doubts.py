"""Boxes that are allowed and look wrong: said once for each client and session, in the log.

Four mistakes give boxes that every check lets pass: numbers of 0 to 1 instead of pixels, left, top, width and height
instead of corners, boxes of a picture of another size, and boxes of a picture that its EXIF has turned. A tracker may
also mean such boxes, so this is no error.
Trap: a camera sends millions of frames, so only the first ones that have boxes are looked at. A program that makes such
a mistake makes it in every frame.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from .boxes import BoxArray
from .orientation import AS_STORED, exif_orientation, turned_size
from .payloads import Payload
from .tracked_boxes import picture_size

LOG: Final = logging.getLogger("reidstream_client")

_FRAMES_LOOKED_AT: Final = 20
_LARGE_PX: Final = 32
_FAR: Final = 1.25  # predictions of a tracker leave the picture by less


class BoxDoubts:
    """Looks at the boxes of a session's first frames. One thread.

    `upright`: the server turns pictures as their EXIF says.
    """

    __slots__ = ("_left", "upright")

    def __init__(self, *, upright: bool = False) -> None:
        self._left = _FRAMES_LOOKED_AT
        self.upright = upright

    def look(self, corners: BoxArray, payload: Payload) -> None:
        """Warn once, if these boxes of this picture are doubtful."""
        if not self._left or not len(corners):
            return
        self._left -= 1
        size = picture_size(payload)
        if size is None or min(size) < _LARGE_PX:
            return
        orientation = AS_STORED if payload.raw is not None else exif_orientation(payload.data)
        doubt = _turned_doubt(orientation, *size) if not self.upright else ""
        if doubt := doubt or _doubt(corners, *turned_size(size, orientation)):
            self._left = 0
            LOG.warning("%s. This is said once.", doubt)


def _turned_doubt(orientation: int, width: int, height: int) -> str:
    if orientation == AS_STORED:
        return ""
    return (
        f"the picture's EXIF orientation is {orientation}, and boxes are cut from it as it is stored, {width} x "
        f"{height} pixels: if they were found on the turned picture, as cv2.imread gives it, set "
        "apply_exif_orientation=True in the client's options"
    )


def _doubt(corners: BoxArray, width: int, height: int) -> str:
    """What looks wrong about boxes of a picture of this size; "" if nothing does."""
    if not np.isfinite(corners).all():
        return ""
    if corners.max() <= 1 and corners.min() >= 0:
        return (
            f"all boxes lie within 0 to 1, on a picture of {width} x {height} pixels: boxes are in pixels; multiply x "
            f"by {width} and y by {height}"
        )
    (left, top), (right, bottom) = corners[:, :2].T, corners[:, 2:].T
    turned = (right <= left) | (bottom <= top)
    if 2 * np.count_nonzero(turned) >= len(corners) and corners.min() >= 0:
        return (
            f"box {int(np.argmax(turned))} ends before it begins ({_numbers(corners, turned)}): boxes are x1, y1, x2, "
            "y2; from_ltwh(boxes) makes them of left, top, width, height, and from_cxcywh(boxes) of centre and size"
        )
    outside = (right > _FAR * width) | (bottom > _FAR * height)
    if 2 * np.count_nonzero(outside) >= len(corners):
        return (
            f"boxes leave the picture of {width} x {height} pixels (box {int(np.argmax(outside))} is "
            f"{_numbers(corners, outside)}): they must be in pixels of the picture as it is sent, so scale them if it "
            "was scaled; and from_ltwh and from_cxcywh are for boxes that are not x1, y1, x2, y2 yet"
        )
    return ""


def _numbers(corners: BoxArray, which: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    return ", ".join(f"{number:g}" for number in corners[int(np.argmax(which))].tolist())
