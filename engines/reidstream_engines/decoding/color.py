"""NV12 to BGR for whole frames.

Why here: OpenCV has only one of the four combinations of matrix and range, BT.601 limited. It is used for that one, so
the result is bit-equal to OpenCV's. The others use the matrices of ITU-R BT.601-7 and BT.709-6, at most one level from
exact arithmetic. Chroma is repeated, not interpolated, as in OpenCV.

Trap: in limited range OpenCV treats luma below 16 as 16. The matrix does not; only its result is clipped.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_engines.image import ColorMatrix, ColorRange

Bytes = npt.NDArray[np.uint8]

_BAND_ROWS = 128  # even; what is between the planes and the result then stays in the cache
_RED_BLUE_WEIGHTS = {ColorMatrix.BT601: (0.299, 0.114), ColorMatrix.BT709: (0.2126, 0.0722)}


def nv12_to_bgr(luma: Bytes, chroma: Bytes, out: Bytes, *, matrix: ColorMatrix, color_range: ColorRange) -> None:
    """Fill `out` (H, W, 3) from luma (H, W) and chroma (H/2, W/2, 2: U, V); the planes' rows may be strided."""
    if matrix is ColorMatrix.BT601 and color_range is ColorRange.LIMITED:
        cv2.cvtColorTwoPlane(luma, chroma, cv2.COLOR_YUV2BGR_NV12, dst=out)
        return
    transform = yuv_to_bgr(matrix, color_range)
    height, width = luma.shape
    rows = min(_BAND_ROWS, height)
    planes = np.empty((2, rows, width), np.uint8)
    yuv = np.empty((rows, width, 3), np.uint8)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        u, v = planes[0, :count], planes[1, :count]
        for half, full in zip(cv2.split(chroma[top // 2 : (top + count) // 2]), (u, v), strict=True):
            cv2.resize(half, (width, count), dst=full, interpolation=cv2.INTER_NEAREST)
        cv2.merge([luma[top : top + count], u, v], yuv[:count])
        cv2.transform(yuv[:count], transform, out[top : top + count])


def yuv_to_bgr(matrix: ColorMatrix, color_range: ColorRange) -> npt.NDArray[np.float32]:
    """(3, 4) float32: rows B, G, R; columns Y, U, V and the constant."""
    red, blue = _RED_BLUE_WEIGHTS[matrix]
    green = 1.0 - red - blue
    limited = color_range is ColorRange.LIMITED
    black = 16.0 if limited else 0.0
    luma = 255.0 / 219.0 if limited else 1.0
    chroma = 255.0 / 224.0 if limited else 1.0
    blue_u = 2.0 * (1.0 - blue) * chroma
    red_v = 2.0 * (1.0 - red) * chroma
    weights = np.array(
        [
            [luma, blue_u, 0.0],
            [luma, -blue_u * blue / green, -red_v * red / green],
            [luma, 0.0, red_v],
        ]
    )
    constant = -weights @ np.array([black, 128.0, 128.0])
    return np.column_stack([weights, constant]).astype(np.float32)
