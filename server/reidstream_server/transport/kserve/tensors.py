"""The bytes of a tensor become numbers, pixels or a picture, or it is said what is wrong with them.

Traps: a shape is the client's, with sides of up to 2^63 and as many as a message holds. So they are counted first, and
their product is compared with the bytes that are there, before anything is made of it.
And bytes out of a larger body may lie at any address: what a network reads must not.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from reidstream_engines.headers import parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat, RawImage
from reidstream_engines.spec import ColorOrder, InputSpec
from reidstream_server.errors import InvalidCall

from .asked import RawTensor

FLOATS: Mapping[str, str] = {"FP32": "<f4", "FP16": "<f2"}
PIXELS = "UINT8"
BYTES = "BYTES"

_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 8
_OF_NETWORK: Mapping[ColorOrder, PixelFormat] = {
    ColorOrder.RGB: PixelFormat.RGB,
    ColorOrder.BGR: PixelFormat.BGR,
    ColorOrder.GRAY: PixelFormat.GRAY,
}


def network_shape(spec: InputSpec) -> tuple[int, int, int]:
    """Of one crop: channels, height, width."""
    return len(spec.mean), spec.height, spec.width


def check_shape(tensor: RawTensor) -> None:
    """Raises InvalidCall for a shape that no tensor has. Look before its sides are multiplied: that takes the square of
    their number.
    """
    if len(tensor.shape) > _MOST_DIMENSIONS:
        raise InvalidCall(
            f"input {tensor.name!r} has a shape of {len(tensor.shape)} sides; the most is {_MOST_DIMENSIONS}"
        )
    if any(side < 0 for side in tensor.shape):
        raise InvalidCall(f"input {tensor.name!r} has the shape {shown(tensor.shape)}; no side may be negative")


def check_size(tensor: RawTensor, item_bytes: int) -> None:
    """Raises InvalidCall if the tensor has not as many bytes as its shape says."""
    check_shape(tensor)
    wanted, found = math.prod(tensor.shape) * item_bytes, len(tensor.data)
    if wanted != found:
        raise InvalidCall(
            f"input {tensor.name!r} has {found} bytes; {tensor.datatype} of the shape {shown(tensor.shape)} has "
            f"{wanted}"
        )


def floats(tensor: RawTensor) -> npt.NDArray[np.float32]:
    """The numbers of an FP32 or FP16 tensor, in its shape. Raises InvalidCall."""
    dtype = np.dtype(FLOATS[tensor.datatype])
    check_size(tensor, dtype.itemsize)
    found = np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    return np.require(found, np.float32, ["C", "A"])


def planes(tensor: RawTensor, spec: InputSpec) -> Iterator[RawImage]:
    """Crops of the network's size as UINT8 (N, C, H, W), channels in the network's order. Raises InvalidCall."""
    check_size(tensor, 1)
    kept = 1 if spec.color_order is ColorOrder.GRAY else 3  # all planes of a grey picture are the same
    for crop in np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape):
        data = crop[:kept].transpose(1, 2, 0).tobytes()
        yield _image(data, _OF_NETWORK[spec.color_order], spec.width, spec.height)


def pixels(tensor: RawTensor) -> Iterator[RawImage]:
    """Crops of any size as UINT8 (N, H, W, 3), RGB. Raises InvalidCall, ImageError."""
    check_size(tensor, 1)
    count, height, width, channels = tensor.shape
    size = height * width * channels
    for index in range(count):
        yield _image(bytes(tensor.data[index * size : (index + 1) * size]), PixelFormat.RGB, width, height)


def picture(tensor: RawTensor) -> bytes:
    """The only element of a BYTES tensor. Raises InvalidCall."""
    check_shape(tensor)
    if math.prod(tensor.shape) != 1:
        raise InvalidCall(
            f"input {tensor.name!r} has the shape {shown(tensor.shape)}; send one picture at a time, with the shape [1]"
        )
    data = tensor.data
    if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] != len(data) - _LENGTH.size:
        raise InvalidCall(
            f"input {tensor.name!r} has {len(data)} bytes; an element of datatype BYTES is its length in four bytes, "
            "and then so many bytes"
        )
    return bytes(data[_LENGTH.size :])


def as_element(data: bytes) -> bytes:
    """An element of a BYTES tensor."""
    return _LENGTH.pack(len(data)) + data


def shown(shape: Sequence[int]) -> str:
    """A shape in an error, cut to what is sensible."""
    sides = [str(side) for side in shape[:_MOST_DIMENSIONS]]
    return f"[{', '.join(sides)}{', ...' if len(shape) > _MOST_DIMENSIONS else ''}]"


def _image(data: bytes, pixel_format: PixelFormat, width: int, height: int) -> RawImage:
    return parse_raw(
        data=data,
        format=pixel_format,
        width=width,
        height=height,
        stride=0,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )
