"""Pictures as they arrive, before any pixel is decoded: data only.

Why apart from decoding: the size of a picture is needed to admit a frame and to resolve its boxes, before the frame
costs anything. Trap: `data` may be a view into a received message; it is never written to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ImageFormat(Enum):
    """Compressed formats that are decoded."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


class PixelFormat(Enum):
    """Layouts of raw pixels, 8 bits a channel."""

    BGR = "bgr"
    RGB = "rgb"
    GRAY = "gray"
    NV12 = "nv12"


class ColorMatrix(Enum):
    """Which matrix turned RGB into YUV."""

    BT601 = "bt601"
    BT709 = "bt709"


class ColorRange(Enum):
    """The range of YUV values."""

    LIMITED = "limited"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegLayout:
    """A JPEG that may be decoded in part: baseline, in one scan, with a usual chroma layout and an end marker.

    A unit is the smallest block of pixels that is coded together: 8 x 8, or more if chroma is coarser.
    """

    unit_width: int
    unit_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """A compressed picture whose header was read; made by `headers.parse_encoded`. Size in pixels.

    `layout` None: it can only be decoded whole.
    """

    data: bytes
    format: ImageFormat
    width: int
    height: int
    layout: JpegLayout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """Uncompressed pixels whose layout was checked against their length; made by `headers.parse_raw`.

    Strides and offsets in bytes. The chroma fields are for NV12 only.
    """

    data: bytes | memoryview
    format: PixelFormat
    width: int
    height: int
    stride: int
    offset: int
    chroma_stride: int
    chroma_offset: int
    color_matrix: ColorMatrix
    color_range: ColorRange


Image = EncodedImage | RawImage


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelBox:
    """A non-empty rectangle of whole pixels inside an image; (x2, y2) is exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        """Pixels, at least 1."""
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        """Pixels, at least 1."""
        return self.y2 - self.y1
