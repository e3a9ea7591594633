"""Text in pictures, smoother than OpenCV draws it.

Why: OpenCV draws letters as thin lines whose width is a whole number of pixels. Drawn four times as large and averaged
down, a line can have any thickness.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]
"""Blue, green, red, 0 to 255."""

_LARGE = 4
_CAP_HEIGHT = 22.0  # pixels, of a capital letter of this font at scale 1
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_width(text: str, height: float, *, bold: bool = False) -> int:
    """Pixels across; `height` is a capital letter's."""
    scale, thick = _pen(height, bold=bold)
    return round(cv2.getTextSize(text, _FONT, scale, thick)[0][0] / _LARGE)


def write(
    picture: Pixels, text: str, place: tuple[int, int], height: float, colour: Colour, *, bold: bool = False
) -> int:
    """Write at `place` (left, baseline); returns the right end. Text beyond the picture's edge is cut off."""
    scale, thick = _pen(height, bold=bold)
    width = text_width(text, height, bold=bold)
    above, below, side = round(1.5 * height), round(0.6 * height) + 2, 3
    mask = np.zeros(((above + below) * _LARGE, (width + 2 * side) * _LARGE), np.uint8)
    cv2.putText(mask, text, (side * _LARGE, above * _LARGE), _FONT, scale, (255.0,), thick, cv2.LINE_AA)
    alpha = cv2.resize(mask, (width + 2 * side, above + below), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    left, top = place[0] - side, place[1] - above
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(picture.shape[1], left + alpha.shape[1]), min(picture.shape[0], top + alpha.shape[0])
    if x1 < x2 and y1 < y2:
        part = alpha[y1 - top : y2 - top, x1 - left : x2 - left, None]
        target = picture[y1:y2, x1:x2]
        target[...] = np.round(target + (np.array(colour, np.float32) - target) * part)
    return place[0] + width


def _pen(height: float, *, bold: bool) -> tuple[float, int]:
    """Scale and thickness of the large letters."""
    return _LARGE * height / _CAP_HEIGHT, max(1, round(_LARGE * height * (0.19 if bold else 0.125)))
