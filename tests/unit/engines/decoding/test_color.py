"""NV12 to BGR, against the equations of ITU-R BT.601 and BT.709 in exact arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reidstream_engines.decoding.color import nv12_to_bgr
from reidstream_engines.image import ColorMatrix, ColorRange

Pixels = NDArray[np.uint8]


def planes(height: int, width: int) -> tuple[Pixels, Pixels]:
    """Every luma and chroma value, out-of-gamut combinations included."""
    rng = np.random.default_rng(7)
    return (
        rng.integers(0, 256, (height, width), np.uint8),
        rng.integers(0, 256, (height // 2, width // 2, 2), np.uint8),
    )


def by_the_equations(luma: Pixels, chroma: Pixels, red: float, blue: float, *, limited: bool) -> NDArray[np.float64]:
    """R = Y + 2(1-Kr)Cr, B = Y + 2(1-Kb)Cb, and G from Y = Kr R + Kg G + Kb B; all in 0 to 1."""
    y = (luma.astype(float) - 16) / 219 if limited else luma / 255
    cb, cr = np.moveaxis((chroma.repeat(2, 0).repeat(2, 1).astype(float) - 128) / (224 if limited else 255), 2, 0)
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.asarray(np.clip(np.dstack([b, g, r]) * 255, 0, 255))


@pytest.mark.parametrize(
    ("matrix", "red", "blue"), [(ColorMatrix.BT601, 0.299, 0.114), (ColorMatrix.BT709, 0.2126, 0.0722)]
)
@pytest.mark.parametrize("color_range", list(ColorRange))
@pytest.mark.parametrize("height", [2, 128, 302])
def test_within_one_level_of_the_equations(
    matrix: ColorMatrix, red: float, blue: float, color_range: ColorRange, height: int
) -> None:
    """All four combinations, heights of one band, less than one and several."""
    luma, chroma = planes(height, 200)
    limited = color_range is ColorRange.LIMITED
    if limited:
        luma = np.maximum(luma, 16)  # below, OpenCV's BT.601 clips before the matrix and not after
    out = np.zeros((height, 200, 3), np.uint8)
    nv12_to_bgr(luma, chroma, out, matrix=matrix, color_range=color_range)
    assert np.abs(out - by_the_equations(luma, chroma, red, blue, limited=limited)).max() <= 1.0


def test_bt601_limited_is_opencvs_own() -> None:
    """Bit for bit: it is what most cameras send and what golden vectors were made with."""
    luma, chroma = planes(90, 160)
    out = np.zeros((90, 160, 3), np.uint8)
    nv12_to_bgr(luma, chroma, out, matrix=ColorMatrix.BT601, color_range=ColorRange.LIMITED)
    packed = np.vstack([luma, chroma.reshape(45, 160)])
    np.testing.assert_array_equal(out, cv2.cvtColor(packed, cv2.COLOR_YUV2BGR_NV12))


def test_grey_stays_grey_and_ends_meet() -> None:
    """Black is 0 and white 255 in both ranges; neutral chroma has no colour."""
    for color_range, black, white in ((ColorRange.LIMITED, 16, 235), (ColorRange.FULL, 0, 255)):
        luma = np.array([[black, white], [black, white]], np.uint8)
        chroma = np.full((1, 1, 2), 128, np.uint8)
        out = np.zeros((2, 2, 3), np.uint8)
        nv12_to_bgr(luma, chroma, out, matrix=ColorMatrix.BT709, color_range=color_range)
        np.testing.assert_array_equal(out[0], [[0, 0, 0], [255, 255, 255]])
