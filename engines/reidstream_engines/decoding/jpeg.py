"""JPEG: which pixels are decoded for a frame's boxes, by which decoder, into which memory.

Why not the whole frame: pixels above the boxes, and left and right of them, cost half (they are only entropy-decoded),
and pixels below cost nothing. In 1920x1080 with the boxes in 400 rows, decoding takes 1.5 to 2.8 ms instead of 4.0. If
the boxes need most of the frame, the whole frame is decoded: a region would cost about as much.

Traps: smooth upsampling mixes neighbouring chroma samples, and at the edge of a region there is no neighbour; so a
margin is decoded, too. And `decode` must hold exactly what `plan` says: memory is counted by the one and taken by the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # it ships stubs without the marker

from reidstream_engines.errors import InvalidImage
from reidstream_engines.image import EncodedImage, PixelBox

from .buffers import BufferPool, buffer_size
from .turbojpeg import TurboJpeg

Bytes = npt.NDArray[np.uint8]

SCALES = (1, 2, 4, 8)

_CHANNELS = 3
_MARGIN = 8
"""Pixels left and right. Upsampling reads one chroma sample beyond, which is 2 pixels."""

_LEFT_OUT = 1 / 8
"""A region must leave out this share of a frame's pixels. If it leaves out a tenth, it costs as much as the frame."""


@dataclass(frozen=True, slots=True)
class JpegRegion:
    """What is decoded: pixels of the picture at 1/`scale`, from (x, y) on. `whole`: the whole picture."""

    x: int
    y: int
    width: int
    height: int
    scale: int
    whole: bool

    @property
    def pixel_bytes(self) -> int:
        """The size of its BGR pixels."""
        return self.width * self.height * _CHANNELS


class JpegDecoder:
    """Decodes at 1/`scale` of the size (1, 2, 4 or 8; 1 is exact). With `library`, only the region that is needed. Any
    thread.
    """

    def __init__(self, library: TurboJpeg | None, *, scale: int = 1) -> None:
        if scale not in SCALES:
            raise ValueError(f"a JPEG can be decoded at 1/1, 1/2, 1/4 or 1/8 of its size, not at 1/{scale}")
        self._library = library
        self.scale = scale

    @property
    def library(self) -> str | None:
        """The path of the library that decodes a part of a picture; None: whole pictures are decoded."""
        return None if self._library is None else self._library.path

    def plan(self, image: EncodedImage, boxes: Sequence[PixelBox]) -> JpegRegion:
        """What to decode for `boxes`, which lie in the picture; without boxes the whole picture. A few microseconds."""
        scale = self.scale
        whole = JpegRegion(0, 0, _up(image.width, scale), _up(image.height, scale), scale, whole=True)
        layout = image.layout
        if self._library is None or layout is None or not boxes:
            return whole
        left, top = min(box.x1 for box in boxes) // scale, min(box.y1 for box in boxes) // scale
        right, bottom = _up(max(box.x2 for box in boxes), scale), _up(max(box.y2 for box in boxes), scale)
        x = max(0, left - _MARGIN) // (layout.unit_width // scale) * (layout.unit_width // scale)
        width = min(whole.width, right + _MARGIN) - x
        if width * (bottom - top) > whole.width * whole.height * (1 - _LEFT_OUT):
            return whole
        return JpegRegion(x, top, width, bottom - top, scale, whole=False)

    def decode(self, image: EncodedImage, region: JpegRegion, pool: BufferPool) -> tuple[Bytes, Bytes]:
        """The BGR pixels, uint8 (H, W, 3), and the buffer of `pool` that holds them, which the caller gives back.

        Raises InvalidImage; the buffer is then given back here.
        """
        buffer = pool.take(region.pixel_bytes)
        try:
            return self.decode_into(image, region, buffer), buffer
        except BaseException:
            pool.give(buffer)
            raise

    def decode_into(self, image: EncodedImage, region: JpegRegion, buffer: Bytes) -> Bytes:
        """The BGR pixels, uint8 (H, W, 3), contiguous from the start of `buffer`, which has at least
        `region.pixel_bytes`. Raises InvalidImage.
        """
        size = image.width, image.height
        if self._library is None or region.whole:
            return _whole(image, region, buffer)
        pixels = buffer[: region.pixel_bytes].reshape(region.height, region.width, _CHANNELS)
        self._library.decode(image.data, pixels, x=region.x, y=region.y, size=size, scale=region.scale)
        return pixels


def staged_size(region: JpegRegion) -> int:
    """Bytes of the buffer that holds its pixels."""
    return buffer_size(region.pixel_bytes)


def _whole(image: EncodedImage, region: JpegRegion, buffer: Bytes) -> Bytes:
    wanted = (0, 0) if region.scale == 1 else (region.height, region.width)
    try:
        # OpenCV, too, has the exact inverse transform and smooth upsampling; strict refuses truncated files.
        pixels: Bytes = simplejpeg.decode_jpeg(
            image.data,
            "BGR",
            fastdct=False,
            fastupsample=False,
            min_height=wanted[0],
            min_width=wanted[1],
            buffer=buffer,
            strict=True,
        )
    except ValueError as error:
        raise InvalidImage(f"JPEG cannot be decoded to its end: {error}") from error
    if pixels.shape != (region.height, region.width, _CHANNELS):
        height, width = pixels.shape[:2]
        raise InvalidImage(
            f"the header says {image.width} x {image.height} pixels, at 1/{region.scale} the picture has "
            f"{width} x {height}"
        )
    return pixels


def _up(pixels: int, scale: int) -> int:
    return -(-pixels // scale)
