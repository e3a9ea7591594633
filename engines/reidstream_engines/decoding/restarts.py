"""Checks a JPEG's image data piece by piece, where junk before restart markers hides what a decoder would say later.

Why: webcams that write junk write it into every frame. A decoder tells of its first warning only, so a frame with junk
and with damage looks like a frame with junk. Between restart markers, pieces are coded independently. So up to eight of
them are made into a small JPEG of their own, without what is known to be junk; a decoder must find nothing else in it.

Trap: a small JPEG is another picture (each piece is one row of it), so it says whether the data is whole, and nothing
about pixels. It is decoded at an eighth of the size: the Huffman codes are read all the same.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

from reidstream_engines.errors import InvalidImage
from reidstream_engines.jpeg_header import BASELINE, RESTARTS, SCAN, Segment, segments

from .complaints import Complaint, junk_of

Decode: TypeAlias = Callable[[bytes, int, int], None]
"""Decodes a JPEG of that width and height, strictly. Raises Complaint."""

_TABLES = (0xC4, 0xDB)
_INTERVAL = 0xDD
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_START, _END = b"\xff\xd8", b"\xff\xd9"
_GROUP = 8  # restart markers are numbered 0 to 7, so one of a group is known by its number
_MOST_PIECES = 4096
_MOST_FAULTS = 1024  # how often a decoder may stop, some 20 microseconds each
_MOST_KINDS = 8
_MOST_SIDE = 65_500
_BLOCK = 8


def check_scan(data: bytes, decode: Decode) -> None:
    """Raise InvalidImage unless all the image data is whole, junk before restart markers and before the end apart.

    What was junk before one marker is taken away from the next ones first, so that a decoder does not stop at each.
    `data`: a JPEG whose header libjpeg accepts. Only one baseline scan with all components can be checked.
    """
    scan = _Scan(data)
    at, faults = 0, 0
    kinds: list[bytes] = []
    while at < len(scan.pieces):
        group = scan.pieces[at : at + _GROUP]
        last = at + len(group) == len(scan.pieces)
        if last and scan.last_units != scan.units and len(group) > 1:
            group, last = group[:-1], False
        units = scan.last_units if last else scan.units
        if faults > _MOST_FAULTS:
            raise InvalidImage(
                f"the JPEG has different junk before more than {_MOST_FAULTS} restart markers; no more is looked at"
            )
        plain = [_without(kinds, piece) for piece in group]
        if plain != group and _is_sound(scan, plain, units, decode):
            at += len(group)
            continue
        faults += plain != group
        try:
            decode(*scan.small(group, units))
        except Complaint as complaint:
            junk = junk_of(complaint)
            if junk is None:
                raise
            sound = junk.marker - RESTARTS.start + 1 if junk.marker in RESTARTS else len(group)
            if not junk.harmless(group[sound - 1]):
                raise
            kind = group[sound - 1][-junk.count :]
            kinds = sorted({kind, *kinds[: _MOST_KINDS - 1]}, key=len, reverse=True)
            at += sound
            faults += 1
        else:
            at += len(group)


def _without(kinds: Sequence[bytes], piece: bytes) -> bytes:
    """Without junk that was found before: cameras write the same again and again."""
    return next((piece.removesuffix(kind) for kind in kinds if piece.endswith(kind)), piece)


def _is_sound(scan: _Scan, pieces: Sequence[bytes], units: int, decode: Decode) -> bool:
    """Whether a decoder finds nothing in these. If it does, what was taken away may have been data."""
    try:
        decode(*scan.small(pieces, units))
    except Complaint:
        return False
    return True


class _Scan:
    """`pieces`: what lies between restart markers. `units`: how many MCUs each holds; the last one, `last_units`."""

    def __init__(self, data: bytes) -> None:
        found = list(segments(data))
        frames = [segment for segment in found if segment.marker == BASELINE]
        scan = found[-1]
        if len(frames) != 1 or scan.marker != SCAN:
            raise InvalidImage("the JPEG has junk between its markers, and is not baseline, so it cannot be checked")
        frame = data[frames[0].start : frames[0].end]
        height, width, components = struct.unpack_from(">HHB", frame, 5)
        if data[scan.start + 4] != components:
            raise InvalidImage("the JPEG has junk between its markers, and several scans, so it cannot be checked")
        self._tables = b"".join(data[one.start : one.end] for one in found if one.marker in _TABLES)
        self._frame, self._scan = frame, data[scan.start : scan.end]
        self._unit = _unit(frame[11::3]) if components > 1 else (_BLOCK, _BLOCK)
        across, down = math.ceil(width / self._unit[0]), math.ceil(height / self._unit[1])
        self.units = _interval(data, found) or across * down
        self._across = across
        self.pieces = _pieces(data, scan.end, math.ceil(across * down / self.units))
        self.last_units = across * down - self.units * (len(self.pieces) - 1)

    def small(self, pieces: Sequence[bytes], units: int) -> tuple[bytes, int, int]:
        """A JPEG of these pieces of `units` MCUs each, with its width and height."""
        columns, rows = _shape(units, self._unit, self._across)
        width, height = columns * self._unit[0], rows * self._unit[1] * len(pieces)
        if max(width, height) > _MOST_SIDE:
            raise InvalidImage(f"the JPEG has junk in its data, and {units} blocks between restart markers: too many")
        frame = self._frame[:5] + struct.pack(">HH", height, width) + self._frame[9:]
        interval = struct.pack(">BBHH", 0xFF, _INTERVAL, 4, units) if len(pieces) > 1 else b""
        parts = [_START, self._tables, frame, interval, self._scan]
        for index, piece in enumerate(pieces):
            parts += [piece, bytes([0xFF, RESTARTS.start + index])]
        return b"".join([*parts[:-1], _END]), width, height


def _unit(samplings: bytes) -> tuple[int, int]:
    return _BLOCK * max(one >> 4 for one in samplings), _BLOCK * max(one & 15 for one in samplings)


def _interval(data: bytes, found: Sequence[Segment]) -> int:
    """The last restart interval that the header names, in MCUs; 0: none."""
    values = [int.from_bytes(data[one.start + 4 : one.start + 6], "big") for one in found if one.marker == _INTERVAL]
    return values[-1] if values else 0


def _pieces(data: bytes, at: int, expected: int) -> list[bytes]:
    pieces: list[bytes] = []
    for found in _MARKER.finditer(data, at):
        pieces.append(data[at : found.start()])
        at = found.end()
        if found[1] == _END[1:]:
            break
        if found[1][0] not in RESTARTS:
            raise InvalidImage("the JPEG has junk between its markers, and several scans, so it cannot be checked")
        number, due = found[1][0] - RESTARTS.start, (len(pieces) - 1) % _GROUP
        if number != due:
            raise InvalidImage(f"the JPEG is damaged: restart marker {number} stands where {due} belongs")
    if len(pieces) != expected:
        raise InvalidImage(f"the JPEG is damaged: restart markers divide its data into {len(pieces)}, not {expected}")
    if expected > _MOST_PIECES:
        raise InvalidImage(
            f"the JPEG has junk among {expected - 1} restart markers; at most {_MOST_PIECES} are looked at"
        )
    return pieces


def _shape(units: int, unit: tuple[int, int], across: int) -> tuple[int, int]:
    """In how many columns and rows of MCUs a piece is laid out."""
    if units * unit[0] <= _MOST_SIDE:
        return units, 1
    return (across, units // across) if units % across == 0 else (units, 1)
