"""Brings pictures, decoded, into this machine's memory, where crops are cut from them.

Why the frame keeps its channel order: raw pixels that a resize can read directly (BGR, RGB, GRAY, any stride) are not
copied at all. The order is changed when a crop is normalised, where it costs nothing. Only compressed pictures and NV12
need memory; for JPEG and NV12 it is reused. Of a JPEG only the part with the boxes is decoded (`decoding/jpeg.py`).

Traps: a view of raw pixels keeps the whole received message alive, so `staged_bytes` counts all of it. And a frame's
array need not begin where the picture does, so only `CpuFrame.cut` may index it by a box.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

import numpy as np
from typing_extensions import Self, assert_never, override

from reidstream_engines.decoding.buffers import BufferPool, Bytes, buffer_size
from reidstream_engines.decoding.color import nv12_to_bgr
from reidstream_engines.decoding.cost import decoding_ns, nv12_ns, scratch_bytes
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.opencv import decode_whole
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.errors import EngineFault
from reidstream_engines.image import EncodedImage, Image, ImageFormat, PixelBox, PixelFormat, RawImage
from reidstream_engines.protocol import DeviceUsage, StagedFrame, Stager
from reidstream_engines.spec import ColorOrder

DEFAULT_IDLE_BYTES = 128 * 1024 * 1024
"""About twenty frames of 1920x1080."""

_CHANNELS = 3


class CpuFrame(StagedFrame):
    """Pixels uint8 in memory: (H, W, 3) in `order` BGR or RGB, or (H, W) in `order` GRAY; rows may be strided.

    They are the picture's at 1/`scale`, from `origin` (x, y) on. Any number of threads may read them until the frame is
    closed. Then `pixels` raises EngineFault: the memory may hold another frame already.
    """

    __slots__ = ("_buffer", "_lock", "_pixels", "_pool", "order", "origin", "scale")

    def __init__(
        self,
        pixels: Bytes,
        order: ColorOrder,
        *,
        pool: BufferPool,
        buffer: Bytes | None,
        origin: tuple[int, int] = (0, 0),
        scale: int = 1,
    ) -> None:
        self.order = order
        self.origin = origin
        self.scale = scale
        self._pixels: Bytes | None = pixels
        self._pool = pool
        self._buffer = buffer
        self._lock = threading.Lock()

    @property
    def pixels(self) -> Bytes:
        """See the class. Never written to."""
        pixels = self._pixels
        if pixels is None:
            raise EngineFault("a staged frame was used after it was closed")
        return pixels

    def cut(self, box: PixelBox) -> Bytes:
        """The pixels of a box of the picture; the frame must have been staged for this box. Never written to.

        At a smaller scale the corners are rounded, halves to even; each side keeps at least one pixel.
        """
        left, top = self.origin
        (x1, x2), (y1, y2) = (box.x1, box.x2), (box.y1, box.y2)
        if self.scale != 1:
            x1, x2 = _scaled(x1, x2, self.scale)
            y1, y2 = _scaled(y1, y2, self.scale)
        return self.pixels[y1 - top : y2 - top, x1 - left : x2 - left]

    @override
    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            buffer, self._buffer, self._pixels = self._buffer, None, None
        if buffer is not None:
            self._pool.give(buffer)

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class CpuStager(Stager):
    """Decodes with libjpeg-turbo (JPEG: bit-equal to OpenCV), libpng and libwebp (through OpenCV).

    Other threads run while a decoder works. `jpeg` None: JPEG at full size, with what is installed here.
    `max_idle_bytes` bounds the memory kept for reuse.
    """

    def __init__(self, jpeg: JpegDecoder | None = None, *, max_idle_bytes: int = DEFAULT_IDLE_BYTES) -> None:
        self._jpeg = jpeg or JpegDecoder(find_turbojpeg())
        self._pool = BufferPool(max_idle_bytes)

    @override
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> CpuFrame:
        """Raises ImageError for a picture that does not decode to its last row."""
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                return self._decode_jpeg(image, boxes)
            case EncodedImage():
                return CpuFrame(decode_whole(image), ColorOrder.BGR, pool=self._pool, buffer=None)
            case RawImage():
                return self._raw(image)
            case _:
                assert_never(image)

    @override
    def instant(self, image: Image) -> bool:
        """True for raw pixels that a resize can read directly."""
        return isinstance(image, RawImage) and image.format is not PixelFormat.NV12

    @override
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                pixels = self._jpeg.pixels(image, boxes)
                return buffer_size(pixels * _CHANNELS) + scratch_bytes(image, pixels)
            case EncodedImage():
                pixels = image.width * image.height
                return pixels * _CHANNELS + scratch_bytes(image, pixels)
            case RawImage(format=PixelFormat.NV12):
                return buffer_size(image.width * image.height * _CHANNELS)
            case RawImage():
                return memoryview(image.data).nbytes
            case _:
                assert_never(image)

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        match image:
            case EncodedImage(format=ImageFormat.JPEG):
                return decoding_ns(image, self._jpeg.pixels(image, boxes))
            case EncodedImage():
                return decoding_ns(image, image.width * image.height)
            case RawImage(format=PixelFormat.NV12):
                return nv12_ns(image.width * image.height)
            case RawImage():
                return 0
            case _:
                assert_never(image)

    @override
    def devices(self) -> tuple[DeviceUsage, ...]:
        """None: frames stay in this machine's memory."""
        return ()

    def _decode_jpeg(self, image: EncodedImage, boxes: Sequence[PixelBox]) -> CpuFrame:
        region = self._jpeg.plan(image, boxes)
        pixels, buffer = self._jpeg.decode(image, region, self._pool)
        return CpuFrame(
            pixels,
            ColorOrder.BGR,
            pool=self._pool,
            buffer=buffer,
            origin=region.origin,
            scale=region.scale,
        )

    def _raw(self, image: RawImage) -> CpuFrame:
        match image.format:
            case PixelFormat.BGR:
                return CpuFrame(_interleaved(image), ColorOrder.BGR, pool=self._pool, buffer=None)
            case PixelFormat.RGB:
                return CpuFrame(_interleaved(image), ColorOrder.RGB, pool=self._pool, buffer=None)
            case PixelFormat.GRAY:
                return CpuFrame(_first_plane(image), ColorOrder.GRAY, pool=self._pool, buffer=None)
            case PixelFormat.NV12:
                return self._convert_nv12(image)
            case _:
                assert_never(image.format)

    def _convert_nv12(self, image: RawImage) -> CpuFrame:
        chroma: Bytes = np.ndarray(
            (image.height // 2, image.width // 2, 2),
            np.uint8,
            buffer=image.data,
            offset=image.chroma_offset,
            strides=(image.chroma_stride, 2, 1),
        )
        size = image.width * image.height * _CHANNELS
        buffer = self._pool.take(size)
        pixels = buffer[:size].reshape(image.height, image.width, _CHANNELS)
        nv12_to_bgr(_first_plane(image), chroma, pixels, matrix=image.color_matrix, color_range=image.color_range)
        return CpuFrame(pixels, ColorOrder.BGR, pool=self._pool, buffer=buffer)


def _scaled(first: int, end: int, scale: int) -> tuple[int, int]:
    """[first, end) in pixels at 1/`scale`. Each of these pixels covers at least one pixel of the box."""
    start = min(round(first / scale), (end - 1) // scale)
    return start, max(round(end / scale), start + 1)


def _interleaved(image: RawImage) -> Bytes:
    return np.ndarray(
        (image.height, image.width, _CHANNELS),
        np.uint8,
        buffer=image.data,
        offset=image.offset,
        strides=(image.stride, _CHANNELS, 1),
    )


def _first_plane(image: RawImage) -> Bytes:
    return np.ndarray(
        (image.height, image.width), np.uint8, buffer=image.data, offset=image.offset, strides=(image.stride, 1)
    )
