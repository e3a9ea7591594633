"""Decodes pictures for a device, into memory that the caller gives.

Why two Protocols: this machine's decoders fill pinned memory and take every picture; a GPU's decoder fills the device's
memory and takes only some. Both decode the same region, so both need the same memory: `FrameDecoder.layout` says how
much. The CPU's decoders are those of the CPU engine (`decoding/`), so a frame has the same pixels on both. NV12 is not
converted, since the kernel reads it. Trap: the device reads the target afterwards, so nothing may write to it later.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never, override

from reidstream_engines.decoding.cost import copying_ns, decoding_ns
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.opencv import decode_whole
from reidstream_engines.image import (
    ColorMatrix,
    ColorRange,
    EncodedImage,
    Image,
    ImageFormat,
    PixelBox,
    PixelFormat,
    RawImage,
)

from .driver import Event

Bytes = npt.NDArray[np.uint8]

_CHANNELS = {PixelFormat.BGR: 3, PixelFormat.RGB: 3, PixelFormat.GRAY: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """`width` x `height` pixels of the picture from `origin` (x, y) on, without gaps. NV12: luma, then chroma."""

    format: PixelFormat
    width: int
    height: int
    origin: tuple[int, int] = (0, 0)
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED

    @property
    def pitch(self) -> int:
        """Bytes of a row. NV12: of a luma row, and of a chroma row."""
        return self.width * _CHANNELS.get(self.format, 1)

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        if self.format is PixelFormat.NV12:
            return self.pitch * (self.height + self.height // 2)
        return self.pitch * self.height

    @property
    def chroma_offset(self) -> int:
        """The byte at which NV12's chroma begins."""
        return self.pitch * self.height


class FrameDecoder(Protocol):
    """Decodes every picture into this machine's memory. Any number of threads."""

    __slots__ = ()

    @abstractmethod
    def layout(self, image: Image, boxes: Sequence[PixelBox]) -> PixelLayout:
        """The layout of what `decode(image, boxes, ...)` will write. Computed from sizes; nothing is decoded."""
        ...

    @abstractmethod
    def decode(self, image: Image, boxes: Sequence[PixelBox], target: Bytes) -> None:
        """Fill the first `layout.size` bytes of `target`, uint8, contiguous. Raises ImageError."""
        ...

    @abstractmethod
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """As in `Stager.staging_ns`, for `decode(image, boxes, ...)`."""
        ...


class DeviceDecoder(Protocol):
    """Decodes on the device itself what it can; a `FrameDecoder` does the rest. Any number of threads."""

    __slots__ = ()

    @abstractmethod
    def takes(self, image: Image) -> TypeGuard[EncodedImage]:
        """Whether to try this picture, judged without decoding it. Cheap."""
        ...

    @abstractmethod
    def decode(self, image: EncodedImage, layout: PixelLayout, target: int, done: Event) -> bool:
        """Write the pixels, without gaps, to device memory at address `target`; they are there once `done` has passed.

        The context must be current. False: the picture could not be decoded here; it may still be a good picture. In
        both cases nothing writes to the target after `done`. Raises EngineFault or EngineLost, never ImageError.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Give back what it uses of the device. Nobody may be decoding."""
        ...


class CpuFrameDecoder(FrameDecoder):
    """The CPU engine's decoders. JPEG is decoded into the target; PNG, WebP and raw pixels are copied once."""

    def __init__(self, jpeg: JpegDecoder) -> None:
        self._jpeg = jpeg

    @override
    def layout(self, image: Image, boxes: Sequence[PixelBox]) -> PixelLayout:
        """For a JPEG, only the region of its boxes, if the decoder can decode a region."""
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                region = self._jpeg.plan(image, boxes)
                width, height = region.turned_size
                return PixelLayout(format=PixelFormat.BGR, width=width, height=height, origin=region.origin)
            case EncodedImage():
                return PixelLayout(format=PixelFormat.BGR, width=image.width, height=image.height)
            case RawImage():
                return PixelLayout(
                    format=image.format,
                    width=image.width,
                    height=image.height,
                    color_matrix=image.color_matrix,
                    color_range=image.color_range,
                )
            case _:
                assert_never(image)

    @override
    def decode(self, image: Image, boxes: Sequence[PixelBox], target: Bytes) -> None:
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                self._jpeg.decode_into(image, self._jpeg.plan(image, boxes), target)
            case EncodedImage():
                pixels = decode_whole(image)
                target[: pixels.size].reshape(pixels.shape)[...] = pixels
            case RawImage():
                _copy_rows(image, self.layout(image, boxes), target)
            case _:
                assert_never(image)

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                return decoding_ns(image, self._jpeg.pixels(image, boxes))
            case EncodedImage():
                pixels = image.width * image.height
                return decoding_ns(image, pixels) + copying_ns(pixels * _CHANNELS[PixelFormat.BGR])
            case RawImage():
                return copying_ns(self.layout(image, boxes).size)
            case _:
                assert_never(image)


def _copy_rows(image: RawImage, layout: PixelLayout, target: Bytes) -> None:
    planes = [(image.offset, image.stride, layout.height, 0)]
    if image.format is PixelFormat.NV12:
        planes.append((image.chroma_offset, image.chroma_stride, layout.height // 2, layout.chroma_offset))
    for offset, stride, rows, start in planes:
        source: Bytes = np.ndarray((rows, layout.pitch), np.uint8, image.data, offset, (stride, 1))
        target[start : start + rows * layout.pitch].reshape(rows, layout.pitch)[...] = source
