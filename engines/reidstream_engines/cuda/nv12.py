"""NV12 to BGR as on the CPU, with the same integers as OpenCV.

Why not a float matrix: a pixel that differs by one level gives a different vector. BT.601 limited is OpenCV's own
conversion, with 20 binary places and no luma below black. The other three use `cv2.transform`, which rounds the matrix
to 10 places on x86. Trap: the constants include one half for rounding, so that the kernel only adds and shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reidstream_engines.decoding.color import yuv_to_bgr
from reidstream_engines.image import ColorMatrix, ColorRange

_TRANSFORM_SHIFT = 10
_OPENCV_SHIFT = 20
_HALF_CHROMA = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Nv12Weights:
    """channel = (luma * max(Y - black, 0) + weights of U and V + base) >> shift, clipped to 0..255."""

    black: int
    luma: int
    blue_u: int
    green_u: int
    green_v: int
    red_v: int
    blue_base: int
    green_base: int
    red_base: int
    shift: int


def nv12_weights(matrix: ColorMatrix, color_range: ColorRange) -> Nv12Weights:
    """The weights for one of the four combinations."""
    if matrix is ColorMatrix.BT601 and color_range is ColorRange.LIMITED:
        half = 1 << (_OPENCV_SHIFT - 1)
        return Nv12Weights(
            black=16,
            luma=1220542,
            blue_u=2116026,
            green_u=-409993,
            green_v=-852492,
            red_v=1673527,
            blue_base=half - 2116026 * _HALF_CHROMA,
            green_base=half + (409993 + 852492) * _HALF_CHROMA,
            red_base=half - 1673527 * _HALF_CHROMA,
            shift=_OPENCV_SHIFT,
        )
    half = 1 << (_TRANSFORM_SHIFT - 1)
    scaled = np.rint(yuv_to_bgr(matrix, color_range) * np.float32(1 << _TRANSFORM_SHIFT)).astype(int).tolist()
    (luma, blue_u, _, blue), (_, green_u, green_v, green), (_, _, red_v, red) = scaled
    return Nv12Weights(
        black=0,
        luma=luma,
        blue_u=blue_u,
        green_u=green_u,
        green_v=green_v,
        red_v=red_v,
        blue_base=blue + half,
        green_base=green + half,
        red_base=red + half,
        shift=_TRANSFORM_SHIFT,
    )
