"""The caller's pictures, ready for the wire, with as few copies as possible.

A file goes as it is. An array goes as raw pixels: without a copy if its rows are evenly spaced in memory, and packed
once if they are not. Trap: a view of a part of a larger picture has even rows too, but sending it with its stride would
also send the pixels around it. So a stride is used for padding only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import InvalidRequest
from reidstream_proto.v1 import image_pb2

from .encoded_size import file_kind
from .images import Nv12, Picture, RawFrame
from .misfits import array_misfit, picture_misfit
from .raw_layouts import RawPixels, nv12_pixels, raw_pixels

_COLOR_CHANNELS: Final = 3
_MAX_PADDING: Final = 16  # a stride may be longer than its row by a 16th
_READ_BY_SERVERS: Final = frozenset({"JPEG", "PNG", "WebP"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A picture for the wire. `raw`: everything but the data; None for a file.

    `borrowed`: `data` is a view of the caller's memory, which may change once the call returns.
    """

    raw: image_pb2.RawImage | None
    data: bytes | memoryview
    borrowed: bool


def parse_picture(image: Picture) -> Payload:
    """Raises InvalidRequest, naming what was given and what to do with it."""
    given: object = image
    if isinstance(given, np.ndarray):
        return _array(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return _file(given)
    if isinstance(given, RawFrame):
        return _raw(raw_pixels(given))
    if isinstance(given, Nv12):
        return _raw(nv12_pixels(given))
    raise InvalidRequest(picture_misfit(given))


def _raw(pixels: RawPixels) -> Payload:
    return Payload(raw=pixels.layout, data=pixels.data, borrowed=pixels.borrowed)


def _file(data: bytes | bytearray | memoryview) -> Payload:
    if isinstance(data, memoryview) and (data.ndim != 1 or data.itemsize != 1):
        raise InvalidRequest(
            f"a memoryview of shape {data.shape} and format {data.format!r} is no file; give np.asarray(image) for an "
            "array of pixels, or RawFrame(data=image, ...)"
        )
    if not len(data):
        raise InvalidRequest("the image is empty: it has 0 bytes; look at where it was read or encoded")
    if isinstance(data, bytes):
        return Payload(raw=None, data=data, borrowed=False)
    view = memoryview(data)
    if not view.c_contiguous:
        return Payload(raw=None, data=view.tobytes(), borrowed=False)
    return Payload(raw=None, data=view.cast("B"), borrowed=True)


def _array(image: npt.NDArray[Any]) -> Payload:
    color = image.ndim == 3 and image.shape[2] == _COLOR_CHANNELS  # noqa: PLR2004 - rows, columns, channels
    grey = image.ndim == 2 and min(image.shape) > 1  # noqa: PLR2004 - rows and columns
    if image.dtype != np.uint8 or image.size == 0:
        raise InvalidRequest(array_misfit(image))
    if not (color or grey):
        if image.ndim > 2:  # noqa: PLR2004 - not in one line, so no file
            raise InvalidRequest(array_misfit(image))
        kind = file_kind(image.reshape(-1)[:16].tobytes())
        if kind in _READ_BY_SERVERS:  # cv2.imencode gives (N, 1) or (N,), np.fromfile (N,)
            return _file(np.ascontiguousarray(image).reshape(-1).data)
        if kind is not None or image.ndim < 2:  # noqa: PLR2004 - rows and columns
            raise InvalidRequest(array_misfit(image))
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
