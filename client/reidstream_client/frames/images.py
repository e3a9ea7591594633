"""The caller's pictures, ready for the wire, with as few copies as possible.

A file goes as it is. An array goes as raw pixels: without a copy if its rows are evenly spaced in memory, and packed
once if they are not. Trap: a view of a part of a larger picture has even rows too, but sending it with its stride would
also send the pixels around it. So a stride is used for padding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reidstream_client.checks import check_unsigned
from reidstream_client.errors import InvalidRequest
from reidstream_proto.v1 import image_pb2

Buffer: TypeAlias = bytes | bytearray | memoryview
PixelArray: TypeAlias = npt.NDArray[np.uint8]

_COLOR_CHANNELS = 3
_MAX_PADDING = 16  # a stride may be longer than its row by a 16th


class PixelFormat(Enum):
    """Layout of raw pixels, 8 bits a channel."""

    BGR = 1
    RGB = 2
    GRAY = 3


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
    """Interleaved pixels in a buffer. `stride`: bytes from row to row (0: packed). `offset`: where row 0 starts."""

    data: Buffer = field(repr=False)
    width: int
    height: int
    format: PixelFormat = PixelFormat.BGR
    stride: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nv12:
    """A plane of luma, and a plane of U and V at half size, as hardware decoders give them. Width and height are even.

    Strides are in bytes. 0 is packed; of the chroma plane, it is the luma plane's stride. `chroma_offset` 0: right
    behind the luma plane.
    """

    data: Buffer = field(repr=False)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A picture for the wire. `raw`: everything but the data; None for a file.

    `borrowed`: `data` is a view of the caller's memory, which may change once the call returns.
    """

    raw: image_pb2.RawImage | None
    data: bytes | memoryview
    borrowed: bool


def parse_picture(image: Picture) -> Payload:
    """Raises InvalidRequest, naming what was given."""
    if isinstance(image, np.ndarray):
        return _array(image)
    if isinstance(image, RawFrame | Nv12):
        check_unsigned("stride", image.stride, 32)
        check_unsigned("offset", image.offset, 32)
    if isinstance(image, RawFrame):
        raw = image_pb2.RawImage(
            format=image_pb2.PixelFormat.ValueType(image.format.value),
            width=_pixels(image.width, "width"),
            height=_pixels(image.height, "height"),
            stride=image.stride,
            offset=image.offset,
        )
        return _payload(raw, image.data)
    if isinstance(image, Nv12):
        check_unsigned("chroma_stride", image.chroma_stride, 32)
        check_unsigned("chroma_offset", image.chroma_offset, 32)
        raw = image_pb2.RawImage(
            format=image_pb2.PIXEL_FORMAT_NV12,
            width=_pixels(image.width, "width"),
            height=_pixels(image.height, "height"),
            stride=image.stride,
            offset=image.offset,
            chroma_stride=image.chroma_stride,
            chroma_offset=image.chroma_offset,
            color_matrix=image_pb2.ColorMatrix.ValueType(image.matrix.value),
            color_range=image_pb2.ColorRange.ValueType(image.range.value),
        )
        return _payload(raw, image.data)
    if isinstance(image, bytes | bytearray | memoryview):
        return _payload(None, image)
    raise InvalidRequest(
        "an image is a uint8 array (H, W, 3) in BGR or (H, W) in grey, the bytes of a JPEG, PNG or WebP file, "
        f"RawFrame, Nv12, or Crops; not {type(image).__name__}"
    )


def _payload(raw: image_pb2.RawImage | None, data: Buffer) -> Payload:
    if isinstance(data, bytes):
        return Payload(raw=raw, data=data, borrowed=False)
    view = memoryview(data)
    if not view.c_contiguous:
        return Payload(raw=raw, data=view.tobytes(), borrowed=False)
    return Payload(raw=raw, data=view.cast("B"), borrowed=True)


def _array(image: npt.NDArray[np.generic]) -> Payload:
    color = image.ndim == 3 and image.shape[2] == _COLOR_CHANNELS  # noqa: PLR2004 - rows, columns, channels
    if image.dtype != np.uint8 or not (color or image.ndim == 2) or image.size == 0:  # noqa: PLR2004 - grey
        raise InvalidRequest(
            f"an image array must be uint8 of shape (H, W, 3) or (H, W), not {image.dtype} of shape {image.shape}"
        )
    height, width = image.shape[:2]
    row = width * (_COLOR_CHANNELS if color else 1)
    raw = image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_BGR if color else image_pb2.PIXEL_FORMAT_GRAY, width=width, height=height
    )
    stride = image.strides[0]
    even_rows = image[0].flags.c_contiguous and row <= stride <= row + row // _MAX_PADDING
    if stride == row or height == 1 or not even_rows:
        packed = np.ascontiguousarray(image)
        return Payload(raw=raw, data=packed.reshape(-1).data, borrowed=packed is image or packed.base is not None)
    raw.stride = stride
    flat = np.lib.stride_tricks.as_strided(image, shape=((height - 1) * stride + row,), strides=(1,), writeable=False)
    return Payload(raw=raw, data=flat.data, borrowed=True)


def _pixels(value: int, name: str) -> int:
    if not 1 <= value < 1 << 31:
        raise InvalidRequest(f"an image's {name} must be at least 1, not {value!r}")
    return value
