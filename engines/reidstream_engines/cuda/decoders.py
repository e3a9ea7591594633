"""From a picture as it came to the pixels that a device will have, written into memory of the caller's.

Why two Protocols: this machine's decoders fill pinned memory, and take every picture; a GPU's decoder fills the
device's, and takes some. What is decoded, and so how much memory it needs, is the same for both: `FrameDecoder.layout`
says it. The CPU's decoders are those of the CPU engine, so a frame has the same pixels on both. NV12 is not converted:
the kernel reads it as it is. Trap: the target is memory that the device reads next; nothing may write to it later.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never, override

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
    """Pixels without gaps: `width` x `height` of the picture from `origin` (x, y) on. NV12: luma, then chroma."""

    format: PixelFormat
    width: int
    height: int
    origin: tuple[int, int] = (0, 0)
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED

    @property
    def pitch(self) -> int:
        """Bytes of a row, of luma for NV12; its chroma rows have as many."""
        return self.width * _CHANNELS.get(self.format, 1)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        if self.format is PixelFormat.NV12:
            return self.pitch * (self.height + self.height // 2)
        return self.pitch * self.height

    @property
    def chroma_offset(self) -> int:
        """Where NV12's chroma begins."""
        return self.pitch * self.height


class FrameDecoder(Protocol):
    """Decodes every picture into this machine's memory. Any number of threads."""

    __slots__ = ()

    @abstractmethod
    def layout(self, image: Image, boxes: Sequence[PixelBox]) -> PixelLayout:
        """What `decode(image, boxes, ...)` will write; from the sizes alone."""
        ...

    @abstractmethod
    def decode(self, image: Image, boxes: Sequence[PixelBox], target: Bytes) -> None:
        """Fill the first `layout.size` bytes of `target`, uint8, contiguous. Raises ImageError."""
        ...


class DeviceDecoder(Protocol):
    """Decodes on the device itself what it can; a `FrameDecoder` does the rest. Any number of threads."""

    __slots__ = ()

    @abstractmethod
    def takes(self, image: Image) -> TypeGuard[EncodedImage]:
        """Whether to try, by what is known of the picture without decoding it. Cheap."""
        ...

    @abstractmethod
    def decode(self, image: EncodedImage, layout: PixelLayout, target: int, done: Event) -> bool:
        """Write the pixels, without gaps, to device memory at address `target`; they are there once `done` has passed.

        Called with the context current. False: the picture could not be decoded here, and that is no verdict on it.
        Nothing writes to the target behind `done` in either case. Raises EngineFault or EngineLost, never ImageError.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Give back what it uses of the device. Nobody may be decoding."""
        ...


class CpuFrameDecoder(FrameDecoder):
    """The CPU engine's decoders. JPEG goes straight to the target, PNG and WebP with one copy, raw pixels by rows."""

    def __init__(self, jpeg: JpegDecoder) -> None:
        self._jpeg = jpeg

    @override
    def layout(self, image: Image, boxes: Sequence[PixelBox]) -> PixelLayout:
        """Of a JPEG only the region of its boxes, if that is what is decoded."""
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                region = self._jpeg.plan(image, boxes)
                return PixelLayout(
                    format=PixelFormat.BGR, width=region.width, height=region.height, origin=(region.x, region.y)
                )
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


def _copy_rows(image: RawImage, layout: PixelLayout, target: Bytes) -> None:
    planes = [(image.offset, image.stride, layout.height, 0)]
    if image.format is PixelFormat.NV12:
        planes.append((image.chroma_offset, image.chroma_stride, layout.height // 2, layout.chroma_offset))
    for offset, stride, rows, start in planes:
        source: Bytes = np.ndarray((rows, layout.pitch), np.uint8, image.data, offset, (stride, 1))
        target[start : start + rows * layout.pitch].reshape(rows, layout.pitch)[...] = source
