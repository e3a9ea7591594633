"""How an encoded image is to be turned, by its EXIF: what `cv2.imread` does and a server does only if asked.

Why the client looks: it knows which boxes go with which picture, and can say so before anything is embedded wrongly.
Trap: EXIF is written by anybody. What cannot be read is 1, "as it is stored".
"""

from __future__ import annotations

import struct
from typing import Final

AS_STORED: Final = 1
_TURNED_BY_A_QUARTER: Final = (5, 6, 7, 8)
_TAG: Final = 0x0112
_TYPES: Final = {3: "H", 4: "I"}  # a short, a long
_MOST_STEPS: Final = 256
_MARK: Final = b"Exif\0\0"


def exif_orientation(data: bytes | memoryview) -> int:
    """1 to 8, EXIF's numbers, of a JPEG, PNG or WebP file; 1 for anything else. A few microseconds."""
    begin = bytes(data[:16])
    if begin.startswith(b"\xff\xd8"):
        record = _in_jpeg(data)
    elif begin.startswith(b"\x89PNG\r\n\x1a\n"):
        record = _in_chunks(data, at=8, name=b"eXIf", order=">", last=b"IDAT")
    elif begin[:4] == b"RIFF" and begin[8:] == b"WEBPVP8X":
        record = _in_chunks(data, at=12, name=b"EXIF", order="<", last=b"")
    else:
        return AS_STORED
    return _orientation(record.removeprefix(_MARK))


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) of the turned picture."""
    return (size[1], size[0]) if orientation in _TURNED_BY_A_QUARTER else size


def _in_jpeg(data: bytes | memoryview) -> bytes:
    """The first EXIF record; b"" if there is none before the image data."""
    at = 2
    for _ in range(_MOST_STEPS):
        marker = bytes(data[at : at + 4])
        if len(marker) < 4 or marker[0] != 0xFF or marker[1] in {0xD9, 0xDA}:  # noqa: PLR2004 - the end, or the image
            return b""
        end = at + 2 + int.from_bytes(marker[2:], "big")
        if marker[1] == 0xE1 and bytes(data[at + 4 : at + 10]) == _MARK:  # noqa: PLR2004 - an application's segment
            return bytes(data[at + 4 : end])
        at = end
    return b""


def _in_chunks(data: bytes | memoryview, *, at: int, name: bytes, order: str, last: bytes) -> bytes:
    """A PNG's chunk has its length before its name, and a checksum; a WebP's has it behind, and even lengths."""
    png = order == ">"
    for _ in range(_MOST_STEPS):
        head = bytes(data[at : at + 8])
        kind = head[4:] if png else head[:4]
        if len(head) < 8 or kind == last:  # noqa: PLR2004 - a name and a length
            return b""
        (length,) = struct.unpack(order + "I", head[:4] if png else head[4:])
        if kind == name:
            return bytes(data[at + 8 : at + 8 + length])
        at += 12 + length if png else 8 + length + length % 2
    return b""


def _orientation(record: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(record[:4])
    if order is None or len(record) < 8:  # noqa: PLR2004 - a TIFF header
        return AS_STORED
    (directory,) = struct.unpack_from(order + "I", record, 4)
    (entries,) = struct.unpack_from(order + "H", record, directory) if directory + 2 <= len(record) else (0,)
    for index in range(min(entries, _MOST_STEPS)):
        entry = record[directory + 2 + 12 * index : directory + 14 + 12 * index]
        if len(entry) < 12:  # noqa: PLR2004 - tag, type, count, value
            break
        tag, kind, count = struct.unpack(order + "HHI", entry[:8])
        if tag == _TAG:
            number = struct.unpack_from(order + _TYPES[kind], entry, 8)[0] if kind in _TYPES and count == 1 else 0
            return number if number in range(1, 9) else AS_STORED
    return AS_STORED
