"""What a caller may give as a picture: arrays, files, and records of raw pixels.

Why records for raw pixels: a buffer does not say what is in it, and pixels read with the wrong layout are still a
picture, whose vectors look right. Trap: a record is not checked when it is made, but when it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Buffer: TypeAlias = bytes | bytearray | memoryview
PixelArray: TypeAlias = npt.NDArray[np.uint8]

MOST_PIXELS: Final = (1 << 31) - 1
"""Of a picture's width or height, as the wire counts."""


class PixelFormat(Enum):
    """Layout of raw pixels, 8 bits a channel.

    Those below 0 are the client's own. It converts them when they are sent: BGRA and RGBA lose their alpha channel;
    YUYV (YUY2) and I420 become NV12. I420 keeps all of its numbers; of YUYV, two rows share the mean of their colour.
    """

    BGR = 1
    RGB = 2
    GRAY = 3
    GREY = GRAY
    BGRA = -1
    RGBA = -2
    YUYV = -3
    YUY2 = YUYV
    I420 = -4


class ColorMatrix(Enum):
    """Which matrix turned RGB into YUV."""

    BT601 = 1
    BT709 = 2


class ColorRange(Enum):
    """Which values YUV uses: luma 16 to 235, or 0 to 255."""

    LIMITED = 1
    FULL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrame:
    """Pixels in a buffer, which must be as long as `height` rows of `stride` bytes.

    `offset`: where row 0 starts. With one, the buffer may go on behind the last row; not so of I420.

    `stride`: bytes from row to row (0: packed). I420: of the luma plane; it must be even, and the rows of the planes
    behind it have half of it. `matrix` and `range`: of I420 and YUYV. The sizes of these two are even.
    """

    data: Buffer | PixelArray = field(repr=False)
    width: int
    height: int
    format: PixelFormat = PixelFormat.BGR
    stride: int = 0
    offset: int = 0
    matrix: ColorMatrix = ColorMatrix.BT601
    range: ColorRange = ColorRange.LIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Nv12:
    """A plane of luma, and a plane of U and V at half size, as hardware decoders give them. Width and height are even.

    Strides are in bytes. 0 is packed; of the chroma plane, it is the luma plane's stride. `chroma_offset` 0: right
    behind the luma plane, and then the length of `data` must fit. Decoders that pad the height need `chroma_offset`.
    """

    data: Buffer | PixelArray = field(repr=False)
    width: int
    height: int
    stride: int = 0
    offset: int = 0
    chroma_stride: int = 0
    chroma_offset: int = 0
    matrix: ColorMatrix = ColorMatrix.BT601
    range: ColorRange = ColorRange.LIMITED


Picture: TypeAlias = PixelArray | Buffer | RawFrame | Nv12


@dataclass(frozen=True, slots=True)
class Crops:
    """Ready crops, each a picture of its own. `inner_boxes` (N, 4): which part of each to use; None: all of it."""

    images: Sequence[Picture] = field(repr=False)
    inner_boxes: npt.ArrayLike | None = field(default=None, repr=False)


Image: TypeAlias = Picture | Crops
