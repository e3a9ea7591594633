"""Reads what stands before a JPEG's image data: size, layout, and where its segments are.

Why segments are looked for as libjpeg does it (ITU-T T.81, B.1 and B.2): common webcams write a byte or two of junk
before a marker. Every decoder steps over them, and the picture is whole. libjpeg warns, though, and our decoders stop
at its first warning, since later ones may tell of damage. So a header with junk is rewritten here without it.

Trap: every length in a file may be hostile. Nothing is read beyond the data, each step moves forward, and the number of
steps and the bytes of junk are bounded: this runs on the event loop.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .errors import InvalidImage, UnsupportedImage
from .exif import read_exif
from .header_steps import HeaderSteps
from .image import EncodedImage, ImageFormat, JpegLayout, Orientation

MAX_SEGMENTS = 1024
"""The most segments before the image data. Real files have dozens."""
MAX_SCANS = 1024
"""The most scans. Encoders write about ten."""
MAX_JUNK = 4096
"""The most bytes of junk, and of fill bytes, in a header."""
BASELINE, SCAN, RESTARTS = 0xC0, 0xDA, range(0xD0, 0xD8)

_SEQUENTIAL = (BASELINE, 0xC1)
FRAMES = frozenset((*_SEQUENTIAL, 0xC2))
_OTHER_FRAMES: Mapping[int, str] = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
}
_START, _END = 0xD8, 0xD9
_LAST = (SCAN, _START, _END)
_ALONE = frozenset((0x01, *RESTARTS))
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE
_EXIF_MARK = b"Exif\0\0"
_APPLICATIONS = range(0xE0, 0xF0)
_COMMENT = 0xFE
_SHORTEST = 2  # a segment's length counts itself
_BEFORE_SCAN = frozenset((0xC4, 0xDB, 0xDD, _COMMENT, *_APPLICATIONS))  # C4 and DB: tables; DD: the restart interval
_FILL = 0xFF
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_SCAN_MARKER = re.compile(b"\xff\xda")
_END_MARKER = b"\xff\xd9"
_TAIL = 256  # some cameras pad their files after the end marker
_UNITS: Mapping[bytes, tuple[int, int]] = {  # by the components' sampling factors
    b"\x11": (8, 8),  # grey
    b"\x11\x11\x11": (8, 8),  # 4:4:4
    b"\x21\x11\x11": (16, 8),  # 4:2:2
    b"\x12\x11\x11": (8, 16),  # 4:4:0
    b"\x22\x11\x11": (16, 16),  # 4:2:0
    b"\x41\x11\x11": (32, 8),  # 4:1:1
}
_JFIF_MAJOR, _ADOBE_TRANSFORM = 9, 15  # bytes of those segments, counted from the marker on
_YCBCR = 1
_BLOCK, _COEFFICIENT_BYTES = 8, 2
_WHOLE_BLOCKS = b"\x00\x3f\x00"  # how a sequential scan's header ends: all 64 coefficients, to the last bit


class Segment(NamedTuple):
    """From the marker's 0xFF at `start` to `end`, which may lie beyond the data."""

    marker: int
    start: int
    end: int


def parse_jpeg(data: bytes, steps: HeaderSteps) -> EncodedImage:
    """Size, layout and orientation of a JPEG; `data` begins with its start marker. A millisecond or two at most.

    Raises InvalidImage (damaged, or no pixels) or UnsupportedImage. The EncodedImage holds `data` itself, or a copy
    without the junk in its header.
    """
    found: list[Segment] = []
    frame: int | None = None
    exif: Segment | None = None
    try:
        for segment in segments(data):
            marker = segment.marker
            if marker in FRAMES:
                frame = len(found) if frame is None else frame
            elif frame is None and marker not in _BEFORE_SCAN:
                _refuse_before_frame(segment)
            if marker == _EXIF and exif is None and data.startswith(_EXIF_MARK, segment.start + 4):
                exif = segment
            found.append(segment)
    except InvalidImage:
        if frame is None:
            raise
    finally:
        steps.left -= len(found)
    if frame is None:
        raise InvalidImage(f"the JPEG has no frame header within {MAX_SEGMENTS} segments")
    width, height = _size(data, found[frame].start)
    layout = _layout(data, found, frame)
    orientation = Orientation.AS_STORED if exif is None else read_exif(data, exif.start + 4 + len(_EXIF_MARK), steps)
    scans, coefficient_bytes = (1, 0) if layout is not None else _passes(data, found, frame, steps)
    if found[-1].marker == SCAN and _has_junk(data, found):
        data = plain_header(data, found)
    return EncodedImage(
        data=data,
        format=ImageFormat.JPEG,
        width=width,
        height=height,
        layout=layout,
        orientation=orientation,
        scans=scans,
        coefficient_bytes=coefficient_bytes,
    )


def segments(data: bytes) -> Iterator[Segment]:
    """All segments after the start marker up to the first scan's header, or to whatever cannot stand before one.

    Raises InvalidImage if the data ends, or if there is more junk than `MAX_JUNK`.
    """
    at, size, junk_left = 2, len(data), MAX_JUNK
    for _ in range(MAX_SEGMENTS):
        if at + 4 > size:
            raise InvalidImage("the JPEG is truncated: it ends before its frame header")
        marker = data[at + 1]
        if data[at] != _FILL or marker in (0, _FILL):  # 0xFF00 is a coded 0xFF, and 0xFF before a marker fills
            next_one = _MARKER.search(data, at, at + junk_left)
            if next_one is None:
                raise InvalidImage(f"the JPEG is damaged: no segment begins within {junk_left} bytes from byte {at} on")
            junk_left -= next_one.start() - at
            at = next_one.start()
            marker = data[at + 1]
        if marker in _ALONE:
            yield Segment(marker, at, at + 2)
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < _SHORTEST and marker not in _LAST:
            raise InvalidImage(f"the JPEG is damaged: at byte {at} is a segment {marker:02X} of {length} bytes")
        yield Segment(marker, at, at + 2 + length)
        if marker in _LAST:
            return
        at += 2 + length


def _passes(data: bytes, found: Sequence[Segment], frame: int, steps: HeaderSteps) -> tuple[int, int]:
    """In how many scans the coefficients come, and how many bytes of them a decoder holds until the last.

    A scan may say nothing, in a few bytes, and goes over the whole picture all the same: some thousands of them keep a
    decoder busy for a minute. Image data has no such marker (T.81, B.1.1.5); comments between scans may, and count.
    """
    marker, start, end = found[frame]
    scan = found[-1]
    components = data[start + 9]
    if scan.marker != SCAN or (marker in _SEQUENTIAL and data[scan.start + 4 : scan.start + 5] == bytes([components])):
        return 1, 0
    scans = 0
    for _ in _SCAN_MARKER.finditer(data, scan.start):
        scans += 1
        steps.left -= 1
        if scans > MAX_SCANS:
            raise UnsupportedImage(f"the JPEG has more than {MAX_SCANS} scans; send a baseline one")
    height, width = struct.unpack_from(">HH", data, start + 5)
    blocks = -(-width // _BLOCK) * -(-height // _BLOCK)
    factors = [(one >> 4 or 1, one & 15 or 1) for one in data[start + 11 : end : 3]]
    if len(factors) > 1:
        across, down = max(one[0] for one in factors), max(one[1] for one in factors)
        units = -(-width // (_BLOCK * across)) * -(-height // (_BLOCK * down))
        blocks = units * sum(one[0] * one[1] for one in factors)
    return scans, blocks * _BLOCK * _BLOCK * _COEFFICIENT_BYTES


def _has_junk(data: bytes, found: Sequence[Segment]) -> bool:
    at = 2
    for _, start, end in found:
        if start != at and data[at:start].strip(b"\xff"):
            return True
        at = end
    return False


def plain_header(data: bytes, found: Sequence[Segment]) -> bytes:
    """The same picture with nothing in its header that libjpeg could warn of. `found`: its `segments`, a scan the last.

    Without junk, comments and the applications' segments. Those that say how colours are coded stay: JFIF's (with the
    version that libjpeg knows) and Adobe's (with YCbCr for a transform that nobody knows, as every decoder reads it).
    A sequential scan has the parameters that all sequential scans have; some cameras write zeros.
    """
    sequential = any(segment.marker in _SEQUENTIAL for segment in found)
    parts: list[bytes] = [data[:2]]
    for segment in found:
        body = data[segment.start : segment.end]
        if segment.marker == _JFIF and body[4:9] == b"JFIF\0":
            parts.append(_with(body, _JFIF_MAJOR, 1))
        elif segment.marker == _ADOBE and body[4:9] == b"Adobe":
            parts.append(_with(body, _ADOBE_TRANSFORM, _YCBCR) if body[_ADOBE_TRANSFORM:][:1] > b"\1" else body)
        elif segment.marker == SCAN and sequential:
            parts.append(body[:-3] + _WHOLE_BLOCKS)
        elif segment.marker not in (_COMMENT, *_APPLICATIONS, *_ALONE):
            parts.append(body)
    return b"".join([*parts, data[found[-1].end :]])


def _with(body: bytes, at: int, value: int) -> bytes:
    return body[:at] + bytes([value]) + body[at + 1 :]


def _refuse_before_frame(segment: Segment) -> None:
    marker = segment.marker
    if marker in _OTHER_FRAMES:
        raise UnsupportedImage(f"the JPEG is {_OTHER_FRAMES[marker]}; send a baseline or progressive one")
    if marker in (_END, SCAN):
        raise InvalidImage("the JPEG has no frame header before its image data")
    if marker == _START:
        raise InvalidImage(f"the JPEG is damaged: at byte {segment.start} another picture begins")


def _size(data: bytes, at: int) -> tuple[int, int]:
    if at + 10 > len(data):
        raise InvalidImage("the JPEG is truncated: it ends within its frame header")
    precision, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
    if precision != 8:  # noqa: PLR2004 - bits a sample
        raise UnsupportedImage(f"the JPEG has {precision} bits a sample; 8 are supported")
    if components == 4:  # noqa: PLR2004 - the inks
        raise UnsupportedImage("the JPEG has 4 components (CMYK or YCCK); grey and colour are supported")
    if components not in (1, 3):
        raise UnsupportedImage(f"the JPEG has {components} components; grey and colour are supported")
    if not (width and height):
        raise InvalidImage(f"the JPEG header claims {width} x {height} pixels; both must be at least 1")
    return width, height


def _layout(data: bytes, found: Sequence[Segment], frame: int) -> JpegLayout | None:
    """The layout, if the file is plain enough to be decoded in part; None is no error. `frame`: a place in `found`.

    The end marker has to be in place. Entropy-coded data contains no such marker (T.81, B.1.1.5), so one after the
    scan's header is the end marker.
    """
    marker, start, end = found[frame]
    scan = found[-1]
    components = data[start + 9]
    if marker != BASELINE or end - start - 2 != 8 + 3 * components or scan.marker != SCAN:
        return None
    if any(segment.marker not in _BEFORE_SCAN for segment in found[frame + 1 : -1]):
        return None
    unit = _UNITS.get(data[start + 11 : end : 3])
    whole_scan = data[scan.start + 4 : scan.start + 5] == bytes([components])
    if unit is None or not whole_scan or data.find(_END_MARKER, max(scan.end, len(data) - _TAIL)) < 0:
        return None
    return JpegLayout(unit_width=unit[0], unit_height=unit[1])
