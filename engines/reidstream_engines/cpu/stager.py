"""Brings pictures into this machine's memory, decoded, where crops are cut from them.

Why the frame keeps its channel order: raw pixels that a resize can read as they are (BGR, RGB, GRAY, any stride) are
not copied at all; the order is put right when a crop is normalised, where it costs nothing. Only compressed pictures
and NV12 fill a buffer, and JPEG's and NV12's is reused.

Trap: a view of raw pixels keeps the message alive that it came in, so `staged_bytes` counts all of it.
"""

from __future__ import annotations

import threading
from types import TracebackType

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships stubs without the marker
from typing_extensions import Self, assert_never

from reidstream_engines.errors import EngineFault, InvalidImage
from reidstream_engines.image import EncodedImage, Image, ImageFormat, PixelFormat, RawImage
from reidstream_engines.spec import ColorOrder

from .buffers import BufferPool, Bytes
from .color import nv12_to_bgr
from .png import critical_chunks

DEFAULT_IDLE_BYTES = 128 * 1024 * 1024
"""About twenty frames of 1920x1080."""

_CHANNELS = 3
_DECODE_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class CpuFrame:
    """Pixels uint8 in memory: (H, W, 3) in `order` BGR or RGB, or (H, W) in `order` GRAY; rows may be strided.

    Read by any number of threads until it is closed. `pixels` of a closed frame raises EngineFault: its memory may
    hold another frame by then.
    """

    __slots__ = ("_buffer", "_lock", "_pixels", "_pool", "order")

    def __init__(self, pixels: Bytes, order: ColorOrder, *, pool: BufferPool, buffer: Bytes | None) -> None:
        self.order = order
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

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            buffer, self._buffer, self._pixels = self._buffer, None, None
        if buffer is not None:
            self._pool.give(buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class CpuStager:
    """Decodes with libjpeg-turbo (JPEG: bit-equal to OpenCV), libpng and libwebp (through OpenCV).

    Every decoder lets other threads run meanwhile. `max_idle_bytes` bounds the memory kept for reuse.
    """

    def __init__(self, *, max_idle_bytes: int = DEFAULT_IDLE_BYTES) -> None:
        self._pool = BufferPool(max_idle_bytes)

    def stage(self, image: Image) -> CpuFrame:
        """See `Stager`. Raises InvalidImage for a picture that does not decode to its last row."""
        match image:
            case EncodedImage():
                return self._decode(image)
            case RawImage():
                return self._raw(image)
            case _:
                assert_never(image)

    def instant(self, image: Image) -> bool:
        """See `Stager`. True for raw pixels that a resize can read as they are."""
        return isinstance(image, RawImage) and image.format is not PixelFormat.NV12

    def staged_bytes(self, image: Image) -> int:
        """See `Stager`."""
        match image:
            case EncodedImage():
                return image.width * image.height * _CHANNELS
            case RawImage(format=PixelFormat.NV12):
                return image.width * image.height * _CHANNELS
            case RawImage():
                return memoryview(image.data).nbytes
            case _:
                assert_never(image)

    def _decode(self, image: EncodedImage) -> CpuFrame:
        match image.format:
            case ImageFormat.JPEG:
                return self._decode_jpeg(image)
            case ImageFormat.PNG:
                return self._decode_by_opencv(image, critical_chunks(image.data))
            case ImageFormat.WEBP:
                return self._decode_by_opencv(image, image.data)
            case _:
                assert_never(image.format)

    def _decode_jpeg(self, image: EncodedImage) -> CpuFrame:
        buffer = self._pool.take(image.width * image.height * _CHANNELS)
        try:
            # The exact inverse transform and the smooth upsampling are OpenCV's, too; strict refuses truncated files.
            pixels = simplejpeg.decode_jpeg(
                image.data, "BGR", fastdct=False, fastupsample=False, buffer=buffer, strict=True
            )
            _check_size(image, pixels)
        except ValueError as error:
            self._pool.give(buffer)
            raise InvalidImage(f"JPEG cannot be decoded to its end: {error}") from error
        except InvalidImage:
            self._pool.give(buffer)
            raise
        return CpuFrame(pixels, ColorOrder.BGR, pool=self._pool, buffer=buffer)

    def _decode_by_opencv(self, image: EncodedImage, data: bytes) -> CpuFrame:
        name = image.format.name
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODE_FLAGS)
        except cv2.error as error:
            raise InvalidImage(f"{name} cannot be decoded: {error.err}") from error
        if decoded is None:
            raise InvalidImage(f"{name} cannot be decoded to its end: it is truncated or damaged")
        pixels = np.asarray(decoded, np.uint8)
        _check_size(image, pixels)
        return CpuFrame(pixels, ColorOrder.BGR, pool=self._pool, buffer=None)

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
        buffer = self._pool.take(image.width * image.height * _CHANNELS)
        pixels = buffer.reshape(image.height, image.width, _CHANNELS)
        nv12_to_bgr(_first_plane(image), chroma, pixels, matrix=image.color_matrix, color_range=image.color_range)
        return CpuFrame(pixels, ColorOrder.BGR, pool=self._pool, buffer=buffer)


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


def _check_size(image: EncodedImage, pixels: Bytes) -> None:
    if pixels.shape != (image.height, image.width, _CHANNELS):
        height, width = pixels.shape[:2]
        raise InvalidImage(f"the header says {image.width} x {image.height} pixels, the picture has {width} x {height}")
