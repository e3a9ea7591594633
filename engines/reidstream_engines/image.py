"""Pictures as they come in, before any pixel is touched: data only.

Why apart from decoding: sizes are needed to admit a frame and to resolve its boxes before it costs anything. Trap:
`data` may be a view into a received message; it is never written to.
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
    """Which values YUV uses."""

    LIMITED = "limited"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegLayout:
    """A JPEG that may be decoded in part: baseline, whole in one scan, of a usual chroma layout, with its end in place.

    A unit is the smallest block of pixels that is coded together: 8 x 8, or more where chroma is coarser.
    """

    unit_width: int
    unit_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """A compressed picture whose header was read (`headers.parse_encoded` makes it). Size in pixels.

    `layout` None: it is decoded whole or not at all.
    """

    data: bytes
    format: ImageFormat
    width: int
    height: int
    layout: JpegLayout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """Uncompressed pixels whose layout was checked against their length (`headers.parse_raw` makes it).

    Strides and offsets in bytes. The chroma fields are NV12's.
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
