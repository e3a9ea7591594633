"""JPEG: which pixels are decoded for a frame's boxes, by which decoder, into which memory.

Why not the whole frame: pixels above the boxes, and left and right of them, cost half (only their Huffman codes are
read). Why down to the last row: damage is refused wherever it is. Whether a frame is good must not depend on where its
boxes are, and libjpeg reads no codes below the last row that it is asked for. If the boxes need most of the frame, the
whole frame is decoded: a region would cost about as much.

Traps: a decoder stops at its first complaint, and some complaints are harmless (`complaints.py`). Smooth upsampling
mixes neighbouring chroma samples, and at the edge of a region there is no neighbour; so a margin is decoded, too. And
`decode` must hold exactly what `plan` says: memory is counted by the one and taken by the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]  # it ships stubs without the marker

from reidstream_engines.errors import InvalidImage, UnsupportedImage
from reidstream_engines.image import EncodedImage, ImageFormat, Orientation, PixelBox
from reidstream_engines.jpeg_header import BASELINE, FRAMES, plain_header, segments

from .buffers import BufferPool
from .complaints import END, Complaint, Meaning, junk_of, meaning
from .restarts import check_scan
from .turbojpeg import TURBOJPEG_INSTALL, TurboJpeg
from .turning import turn_pixels

Bytes = npt.NDArray[np.uint8]

SCALES = (1, 2, 4, 8)

_RARE = "Could not determine subsampling level"
_MOST_FACTOR = 4
_NAMED = ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (1, 4))  # how much coarser chroma is: 4:4:4 to 4:4:1
_CHANNELS = 3
_MARGIN = 8
"""Pixels left and right. Upsampling reads one chroma sample beyond, which is 2 pixels."""

_LEFT_OUT = 1 / 8
"""A region must leave out this share of a frame's pixels. If it leaves out a tenth, it costs as much as the frame."""


@dataclass(frozen=True, slots=True)
class JpegRegion:
    """What is decoded: pixels of the stored picture at 1/`scale`, from (x, y) on. `whole`: the whole picture.

    Then they are turned by `turn`; `origin` is where they begin in the turned picture.
    """

    x: int
    y: int
    width: int
    height: int
    scale: int
    whole: bool
    turn: Orientation = Orientation.AS_STORED
    origin: tuple[int, int] = (0, 0)

    @property
    def turned_size(self) -> tuple[int, int]:
        """Width and height of its pixels when they are turned."""
        return (self.height, self.width) if self.turn.swaps_sides else (self.width, self.height)

    @property
    def pixel_bytes(self) -> int:
        """The size of its BGR pixels."""
        return self.width * self.height * _CHANNELS


class JpegDecoder:
    """Decodes at 1/`scale` of the size (1, 2, 4 or 8; 1 is exact). With `library` and `regions`, only the region that
    is needed; with `library`, rare samplings as well. Any thread.
    """

    def __init__(self, library: TurboJpeg | None, *, scale: int = 1, regions: bool = True) -> None:
        if scale not in SCALES:
            raise ValueError(f"a JPEG can be decoded at 1/1, 1/2, 1/4 or 1/8 of its size, not at 1/{scale}")
        self._library = library
        self._regions = regions and library is not None
        self.scale = scale

    @property
    def library(self) -> str | None:
        """The path of the library that decodes a part of a picture; None: whole pictures are decoded."""
        return self._library.path if self._library is not None and self._regions else None

    def plan(self, image: EncodedImage, boxes: Sequence[PixelBox]) -> JpegRegion:
        """What to decode for `boxes`, which lie in the picture; without boxes the whole picture. A few microseconds."""
        x, top, width, height, whole = self._extent(image, boxes)
        turn, origin = image.turn, (x, top)
        if turn is not Orientation.AS_STORED and not whole:
            region = PixelBox(x1=x, y1=top, x2=x + width, y2=top + height)
            turned = turn.box_in_turned(region, width=image.width, height=image.height)
            origin = (turned.x1, turned.y1)
        return JpegRegion(x, top, width, height, self.scale, whole=whole, turn=turn, origin=origin)

    def pixels(self, image: EncodedImage, boxes: Sequence[PixelBox]) -> int:
        """How many pixels `plan` has decoded, without making the plan."""
        _, _, width, height, _ = self._extent(image, boxes)
        return width * height

    def _extent(self, image: EncodedImage, boxes: Sequence[PixelBox]) -> tuple[int, int, int, int, bool]:
        """A region's x, y, width, height, and whether it is the whole picture."""
        scale, layout = self.scale, image.layout
        full_width, full_height = image.stored_size if image.upright else (image.width, image.height)
        if scale != 1:
            full_width, full_height = _up(full_width, scale), _up(full_height, scale)
        if not self._regions or layout is None or not boxes:
            return 0, 0, full_width, full_height, True
        if image.upright:
            if scale != 1:  # pixels of the small picture do not begin where the turned picture's do
                return 0, 0, full_width, full_height, True
            turned = partial(image.orientation.box_in_stored, width=image.width, height=image.height)
            boxes = list(map(turned, boxes))
        left, top = min([box.x1 for box in boxes]) // scale, min([box.y1 for box in boxes]) // scale
        right = _up(max([box.x2 for box in boxes]), scale)
        x = max(0, left - _MARGIN) // (layout.unit_width // scale) * (layout.unit_width // scale)
        width = min(full_width, right + _MARGIN) - x
        height = full_height - top
        if width * height > full_width * full_height * (1 - _LEFT_OUT):
            return 0, 0, full_width, full_height, True
        return x, top, width, height, False

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
        if region.turn is Orientation.AS_STORED:
            return self._decode_stored(image, region, buffer)
        width, height = region.turned_size
        turned = buffer[: region.pixel_bytes].reshape(height, width, _CHANNELS)
        turn_pixels(self._decode_stored(image, region, np.empty(region.pixel_bytes, np.uint8)), region.turn, turned)
        return turned

    def _decode_stored(self, image: EncodedImage, region: JpegRegion, buffer: Bytes) -> Bytes:
        try:
            return self._decode(image.data, image, region, buffer)
        except Complaint as complaint:
            return self._after(complaint, image, region, buffer)

    def _after(self, complaint: Complaint, image: EncodedImage, region: JpegRegion, buffer: Bytes) -> Bytes:
        """Decode again what a harmless warning has stopped; raise if the picture is damaged."""
        data = image.data
        if meaning(complaint) is Meaning.HEADER:
            data = plain_header(data, list(segments(data)))
            try:
                return self._decode(data, image, region, buffer)
            except Complaint as second:
                complaint = second
        junk = junk_of(complaint)
        if junk is None or meaning(complaint) is not Meaning.JUNK:
            raise complaint
        if junk.marker != END:
            check_scan(data, self._check)  # there may be damage behind it
        elif not junk.harmless(data[: data.find(b"\xff\xd9", list(segments(data))[-1].end)]):
            raise complaint
        return self._decode(data, image, region, buffer, strict=False)

    def _check(self, data: bytes, width: int, height: int) -> None:
        """Decode all of a small JPEG, strictly, at the smallest scale, and forget the pixels."""
        try:
            simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1)
        except ValueError as error:
            if _RARE not in str(error):
                raise Complaint(str(error)) from error
            eighth = JpegRegion(0, 0, _up(width, SCALES[-1]), _up(height, SCALES[-1]), SCALES[-1], whole=True)
            small = EncodedImage(data=data, format=ImageFormat.JPEG, width=width, height=height)
            self._decode(data, small, eighth, np.empty(eighth.pixel_bytes, np.uint8))

    def _decode(
        self, data: bytes, image: EncodedImage, region: JpegRegion, buffer: Bytes, *, strict: bool = True
    ) -> Bytes:
        if region.whole:
            try:
                return _whole(data, image, region, buffer, strict=strict)
            except _RareSampling:
                _refuse_rare(data, self._library)
        assert self._library is not None  # noqa: S101 - a part, or a rare sampling, was planned for it
        pixels = buffer[: region.pixel_bytes].reshape(region.height, region.width, _CHANNELS)
        self._library.decode(
            data, pixels, x=region.x, y=region.y, size=image.stored_size, scale=region.scale, strict=strict
        )
        return pixels


class _RareSampling(Exception):
    """simplejpeg knows the seven samplings that have a name, and no other."""


def _whole(data: bytes, image: EncodedImage, region: JpegRegion, buffer: Bytes, *, strict: bool) -> Bytes:
    wanted = (0, 0) if region.scale == 1 else (region.height, region.width)
    try:
        # OpenCV, too, has the exact inverse transform and smooth upsampling; strict refuses truncated files.
        pixels: Bytes = simplejpeg.decode_jpeg(
            data,
            "BGR",
            fastdct=False,
            fastupsample=False,
            min_height=wanted[0],
            min_width=wanted[1],
            buffer=buffer,
            strict=strict,
        )
    except ValueError as error:
        if _RARE in str(error):
            raise _RareSampling from error
        raise Complaint(str(error)) from error
    if pixels.shape != (region.height, region.width, _CHANNELS):
        height, width = pixels.shape[:2]
        across, down = image.stored_size
        raise InvalidImage(
            f"the header says {across} x {down} pixels, at 1/{region.scale} the picture has {width} x {height}"
        )
    return pixels


def _refuse_rare(data: bytes, library: TurboJpeg | None) -> None:
    """Return if the library can decode a picture that simplejpeg has refused for its sampling; raise if not.

    simplejpeg says the same of some damaged headers. All versions of the library decode baseline pictures.
    """
    frame = next(segment for segment in segments(data) if segment.marker in FRAMES)
    samplings = [(one >> 4, one & 15) for one in data[frame.start + 11 : frame.end : 3]]
    if library is not None and frame.marker == BASELINE:
        return
    if not _is_rare(samplings):
        raise Complaint("its header is damaged")
    named = ", ".join(f"{across}x{down}" for across, down in samplings)
    hint = f"send 4:2:0, or install on the server: {TURBOJPEG_INSTALL}"
    if library is not None:
        hint = "a progressive JPEG of it is not decoded; send a baseline one, or 4:2:0"
    raise UnsupportedImage(f"the JPEG has the rare chroma sampling {named}; {hint}")


def _is_rare(samplings: Sequence[tuple[int, int]]) -> bool:
    if not all(1 <= factor <= _MOST_FACTOR for pair in samplings for factor in pair):
        return False  # there is no such sampling
    (across, down), *chroma = samplings
    return not any(all((across, down) == (x * wide, y * high) for x, y in chroma) for wide, high in _NAMED)


def _up(pixels: int, scale: int) -> int:
    return -(-pixels // scale)
