"""RawFrame and Nv12 for the wire: the layout is checked against the length of the data, and some are converted.

Why so strict: pixels of four bytes read as three are a picture of stripes, and its vectors look like any others. The
length is the one sign of it. So the data must be as long as its rows, padded or not. There may be more behind them only
where the caller has said that the buffer is a larger one, by an offset. Trap: an I420 picture in an Nv12 has the right
length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.checks import between, member, shown, unsigned
from reidstream_client.errors import InvalidRequest
from reidstream_proto.v1 import image_pb2

from .conversions import nv12_of_i420, nv12_of_yuyv, without_alpha
from .encoded_size import file_kind
from .images import MOST_PIXELS, ColorMatrix, ColorRange, Nv12, PixelArray, PixelFormat, RawFrame

_BYTES: Final = {
    PixelFormat.BGR: 3,
    PixelFormat.RGB: 3,
    PixelFormat.GRAY: 1,
    PixelFormat.BGRA: 4,
    PixelFormat.RGBA: 4,
    PixelFormat.YUYV: 2,
}
"""A pixel; I420 has planes."""

_TIMES_TWO: Final = {  # formats by twice the bytes a pixel
    8: "4 bytes a pixel: is it format=PixelFormat.BGRA, or RGBA?",
    6: "3 bytes a pixel: is it format=PixelFormat.BGR, or RGB?",
    4: "2 bytes a pixel: is it format=PixelFormat.YUYV?",
    3: "12 bits a pixel: is it Nv12(...), or format=PixelFormat.I420?",
    2: "1 byte a pixel: is it format=PixelFormat.GRAY?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPixels:
    """Pixels for the wire. `borrowed`: `data` is a view of the caller's memory."""

    layout: image_pb2.RawImage
    data: bytes | memoryview
    borrowed: bool


def raw_pixels(image: RawFrame) -> RawPixels:
    """Raises InvalidRequest for a layout that does not fit the data."""
    kind = member(PixelFormat, "format", image.format)
    width, height = _pixels("width", image.width), _pixels("height", image.height)
    stride, offset = unsigned("stride", image.stride, 32), unsigned("offset", image.offset, 32)
    data = _bytes_of(image.data)
    if kind is PixelFormat.I420:
        return _i420(image, data, width=width, height=height, stride=stride, offset=offset)
    row = width * _BYTES[kind]
    step = _stride_of(f"{kind.name} picture", row, stride)
    needed = offset + step * (height - 1) + row
    if not needed <= len(data) <= (len(data) if offset else step * height):
        raise InvalidRequest(
            f"{kind.name} pixels of a picture of {width} x {height} are {needed} bytes ({_rows(step, offset)}), not "
            f"{len(data)}: {_advice(data, offset, width=width, height=height, step=step, needed=needed)}"
        )
    if kind.value > 0:
        layout = image_pb2.RawImage(
            format=image_pb2.PixelFormat.ValueType(kind.value), width=width, height=height, stride=stride, offset=offset
        )
        return RawPixels(layout=layout, data=data, borrowed=isinstance(data, memoryview))
    rows: PixelArray = np.ndarray((height, row), np.uint8, data, offset, (step, 1))
    if kind is PixelFormat.YUYV:
        _check_even(kind.name, width, height)
        return _nv12(image, nv12_of_yuyv(rows), width=width, height=height)
    layout = image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_BGR if kind is PixelFormat.BGRA else image_pb2.PIXEL_FORMAT_RGB,
        width=width,
        height=height,
    )
    return RawPixels(layout=layout, data=_memory(without_alpha(rows.reshape(height, width, 4))), borrowed=False)


def nv12_pixels(image: Nv12) -> RawPixels:
    """Raises InvalidRequest for a layout that does not fit the data."""
    width, height = _pixels("width", image.width), _pixels("height", image.height)
    _check_even("NV12", width, height)
    stride, offset = unsigned("stride", image.stride, 32), unsigned("offset", image.offset, 32)
    chroma_stride = unsigned("chroma_stride", image.chroma_stride, 32)
    chroma_offset = unsigned("chroma_offset", image.chroma_offset, 32)
    data = _bytes_of(image.data)
    step = _stride_of("NV12 picture", width, stride)
    chroma_step = _stride_of("NV12 chroma plane", width, chroma_stride or step)
    chroma_at = chroma_offset or offset + step * height
    needed = max(offset + step * (height - 1), chroma_at + chroma_step * (height // 2 - 1)) + width
    most = len(data) if chroma_offset else chroma_at + chroma_step * height // 2
    if not needed <= len(data) <= most:
        advice = _advice(data, offset, width=width, height=height, step=step, needed=needed)
        rows, rest = divmod(2 * (len(data) - offset), 3 * step)
        if not rest and height < rows < 2 * height and chroma_step == step:
            advice = f"if the decoder pads the height to {rows} rows, give chroma_offset={offset + step * rows}"
        raise InvalidRequest(
            f"NV12 pixels of a picture of {width} x {height} are {needed} bytes ({_rows(step, offset)}), not "
            f"{len(data)}: {advice}"
        )
    layout = image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_NV12,
        width=width,
        height=height,
        stride=stride,
        offset=offset,
        chroma_stride=chroma_stride,
        chroma_offset=chroma_offset,
        color_matrix=_matrix(image),
        color_range=_range(image),
    )
    return RawPixels(layout=layout, data=data, borrowed=isinstance(data, memoryview))


def _i420(image: RawFrame, data: bytes | memoryview, *, width: int, height: int, stride: int, offset: int) -> RawPixels:
    _check_even("I420", width, height)
    step = _stride_of("I420 picture", width, stride)
    if step % 2:
        raise InvalidRequest(
            f"the stride of an I420 picture must be even, not {step}: its other planes have half of it"
        )
    half, chroma_at = step // 2, offset + step * height
    needed = chroma_at + half * (height - 1) + width // 2
    if not needed <= len(data) <= chroma_at + half * height:
        raise InvalidRequest(
            f"I420 pixels of a picture of {width} x {height} are {needed} bytes ({_rows(step, offset)}), not "
            f"{len(data)}: {_advice(data, offset, width=width, height=height, step=step, needed=needed)}"
        )
    luma: PixelArray = np.ndarray((height, width), np.uint8, data, offset, (step, 1))
    chroma: PixelArray = np.ndarray((height, width // 2), np.uint8, data, chroma_at, (half, 1))
    return _nv12(image, nv12_of_i420(luma, chroma[: height // 2], chroma[height // 2 :]), width=width, height=height)


def _nv12(image: RawFrame, planes: PixelArray, *, width: int, height: int) -> RawPixels:
    layout = image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_NV12,
        width=width,
        height=height,
        color_matrix=_matrix(image),
        color_range=_range(image),
    )
    return RawPixels(layout=layout, data=_memory(planes), borrowed=False)


def _matrix(image: RawFrame | Nv12) -> image_pb2.ColorMatrix.ValueType:
    return image_pb2.ColorMatrix.ValueType(member(ColorMatrix, "matrix", image.matrix).value)


def _range(image: RawFrame | Nv12) -> image_pb2.ColorRange.ValueType:
    return image_pb2.ColorRange.ValueType(member(ColorRange, "range", image.range).value)


def _bytes_of(data: object) -> bytes | memoryview:
    """The caller's buffer as bytes, copied only if they do not lie together."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, np.ndarray) and data.dtype != np.uint8:
        raise InvalidRequest(f"data of raw pixels must be bytes or a uint8 array, not {shown(data)}")
    try:
        view = memoryview(data)  # type: ignore[arg-type] # whatever has a buffer
        return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()
    except (TypeError, ValueError) as error:  # no buffer; one that was released
        raise InvalidRequest(
            f"data of raw pixels must be bytes or a uint8 array, not {shown(data)} ({error})"
        ) from None


def _memory(pixels: npt.NDArray[np.uint8]) -> memoryview:
    return pixels.reshape(-1).data


def _pixels(name: str, value: object) -> int:
    return between(name, value, 1, MOST_PIXELS)


def _check_even(kind: str, width: int, height: int) -> None:
    if width % 2 or height % 2:
        raise InvalidRequest(f"width and height of an {kind} picture must be even, not {width} x {height}")


def _stride_of(what: str, row: int, stride: int) -> int:
    if 0 < stride < row:
        raise InvalidRequest(f"stride {stride} of the {what} is shorter than a row of {row} bytes")
    return stride or row


def _rows(step: int, offset: int) -> str:
    return f"rows of {step}" + (f", offset {offset}" if offset else "")


def _advice(data: bytes | memoryview, offset: int, *, width: int, height: int, step: int, needed: int) -> str:
    """What the length tells about data that does not fit."""
    if kind := file_kind(bytes(data[:16])):
        return f"it is a {kind} file; send its bytes as the image, without RawFrame"
    given = len(data) - offset
    twice, rest = divmod(2 * given, width * height)
    if not rest and twice in _TIMES_TWO:
        return f"that is {_TIMES_TWO[twice]}"
    if given < needed - offset:
        return "it is too short; was it cut, or are width and height another picture's?"
    if not given % height and given // height > step:
        return f"that is {given // height} bytes a row; if rows are padded, give stride={given // height}"
    return f"if the bytes behind the last row mean nothing, cut them off: data=memoryview(data)[:{needed}]"
