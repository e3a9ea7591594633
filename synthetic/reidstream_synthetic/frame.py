"""One frame with its truth: pixels, and who is where in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from .painting.brush import Pixels

Boxes: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """What a camera saw at one moment. Boxes are x1, y1, x2, y2 in pixels, float64, inside the picture.

    camera          the camera's name
    number          from 1
    pixels          (H, W, 3) uint8, BGR
    people          (N,) int64, from 1, ascending; a person has the same number in all cameras
    boxes           (N, 4): all of the person that lies inside the picture, also what others hide
    visible_boxes   (N, 4): the part that is seen; zeros for somebody who is hidden completely
    detector_boxes  (N, 4): `visible_boxes` a pixel or two off, as a good detector finds them
    visibility      (N,) float64, 0 to 1: how much of the whole body is seen; what is hidden and what lies outside the
                    picture both count as not seen
    """

    camera: str
    number: int
    pixels: Pixels
    people: npt.NDArray[np.int64]
    boxes: Boxes
    visible_boxes: Boxes
    detector_boxes: Boxes
    visibility: npt.NDArray[np.float64]

    def jpeg(self, quality: int = 90) -> bytes:
        """The pixels as a JPEG file; `quality` 1 to 100."""
        _, data = cv2.imencode(".jpg", self.pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return data.tobytes()
