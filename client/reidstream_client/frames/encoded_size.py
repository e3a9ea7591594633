"""What an encoded image is, and its width and height, from its header: enough to draw a box around all of it.

Why not a decoder: an edge box has none installed, and the server decodes anyway. It is the size as stored; how EXIF
turns it is in `orientation.py`. Trap: common webcams write junk before markers.
"""

from __future__ import annotations

import re
from typing import Final

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# Start of frame, all kinds; 0xC4, 0xC8 and 0xCC are something else.
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MOST_JUNK: Final = 4096  # before a marker, as the server takes it
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# Those that a server reads, and those that callers often have instead.
_KINDS: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (_PNG, "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)


def file_kind(start: bytes) -> str | None:
    """Which image file begins with these 16 bytes; None if they are something else, or pixels."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    return next((name for magic, name in _KINDS if start.startswith(magic)), None)


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a JPEG, PNG or WebP file; None for anything else, or a header cut short."""
    if data.startswith(_JPEG):
        return _jpeg(data)
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:  # noqa: PLR2004 - the header's end
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:  # noqa: PLR2004 - the shortest header's end
        return _webp(data)
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        found = _MARKER.search(data, at, at + _MOST_JUNK)
        if found is None:
            return None
        at = found.start()
        marker = data[at + 1]
        if at + 9 > len(data):
            return None
        if marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None
