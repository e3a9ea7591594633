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
class Lossless:
    """The lossless part of a WebP: its bytes from its first transform on. `alpha`: it is a lossy picture's alpha."""

    start: int
    end: int
    alpha: bool


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


class Orientation(Enum):
    """What has to be done to a stored picture so that up is up; EXIF's numbers.

    `box_in_stored` and `box_in_turned` are inverses. Width and height are always the turned picture's.
    """

    AS_STORED = 1
    MIRROR = 2
    HALF_TURN = 3
    FLIP = 4
    TRANSPOSE = 5
    TURN_RIGHT = 6
    TRANSVERSE = 7
    TURN_LEFT = 8

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.value >= Orientation.TRANSPOSE.value

    def box_in_stored(self, box: PixelBox, *, width: int, height: int) -> PixelBox:
        """Where a box of the turned picture lies in the stored one."""
        x1, y1, x2, y2 = box.x1, box.y1, box.x2, box.y2
        if self in _RIGHT_IS_LEFT:
            x1, x2 = width - x2, width - x1
        if self in _BOTTOM_IS_TOP:
            y1, y2 = height - y2, height - y1
        return PixelBox(x1=y1, y1=x1, x2=y2, y2=x2) if self.swaps_sides else PixelBox(x1=x1, y1=y1, x2=x2, y2=y2)

    def box_in_turned(self, box: PixelBox, *, width: int, height: int) -> PixelBox:
        """Where a box of the stored picture lies in the turned one."""
        x1, y1, x2, y2 = box.x1, box.y1, box.x2, box.y2
        if self.swaps_sides:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if self in _RIGHT_IS_LEFT:
            x1, x2 = width - x2, width - x1
        if self in _BOTTOM_IS_TOP:
            y1, y2 = height - y2, height - y1
        return PixelBox(x1=x1, y1=y1, x2=x2, y2=y2)


_RIGHT_IS_LEFT = (Orientation.MIRROR, Orientation.HALF_TURN, Orientation.TURN_RIGHT, Orientation.TRANSVERSE)
_BOTTOM_IS_TOP = (Orientation.HALF_TURN, Orientation.FLIP, Orientation.TRANSVERSE, Orientation.TURN_LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedImage:
    """A compressed picture whose header was read; made by `headers.parse_encoded`. Size in pixels.

    `layout` None: it can only be decoded whole. `orientation`: what its EXIF says. `upright`: it is to be turned so;
    width, height and boxes are then those of the turned picture. `scans`: in how many passes a JPEG's coefficients
    come; with more than one, all of them are held until the last: `coefficient_bytes`. `lossless`:
    of a WebP, if it has such a part.
    """

    data: bytes
    format: ImageFormat
    width: int
    height: int
    layout: JpegLayout | None = None
    orientation: Orientation = Orientation.AS_STORED
    upright: bool = False
    scans: int = 1
    coefficient_bytes: int = 0
    lossless: Lossless | None = None

    @property
    def turn(self) -> Orientation:
        """How its pixels are turned after decoding."""
        return self.orientation if self.upright else Orientation.AS_STORED

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as they are stored."""
        return (self.height, self.width) if self.turn.swaps_sides else (self.width, self.height)


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
