"""Pixels that the wire does not know, as pixels that it does, with numpy alone.

RGBA and BGRA lose their alpha channel, as it is lost from a PNG. I420 becomes NV12: its two planes of colour are
interleaved, and no number changes. YUYV has colour for every row and NV12 for every second one: two rows share their
mean, rounded. That is what most cameras' JPEG does, too. Trap: nothing here converts between YUV and RGB. The server
does that, by the matrix and the range that travel along.
"""

from __future__ import annotations

import numpy as np

from .images import PixelArray


def without_alpha(pixels: PixelArray) -> PixelArray:
    """(H, W, 3), packed, of (H, W, 4)."""
    out = np.empty((*pixels.shape[:2], 3), np.uint8)
    for channel in range(3):  # several times faster than one copy of pixels[:, :, :3]
        out[:, :, channel] = pixels[:, :, channel]
    return out


def nv12_of_i420(luma: PixelArray, u: PixelArray, v: PixelArray) -> PixelArray:
    """(H * 3 / 2, W): luma (H, W), then U and V (H / 2, W / 2) interleaved."""
    height, width = luma.shape
    out = np.empty((height + height // 2, width), np.uint8)
    out[:height] = luma
    out[height:, 0::2] = u
    out[height:, 1::2] = v
    return out


def nv12_of_yuyv(rows: PixelArray) -> PixelArray:
    """(H * 3 / 2, W) of rows (H, 2 * W) that hold Y, U, Y, V for two pixels each. H and W are even."""
    height, width = rows.shape[0], rows.shape[1] // 2
    out = np.empty((height + height // 2, width), np.uint8)
    out[:height] = rows[:, 0::2]
    chroma = rows[:, 1::2]
    upper, lower = chroma[0::2].astype(np.uint16), chroma[1::2]
    upper += lower
    upper += 1
    upper >>= 1
    out[height:] = upper
    return out
