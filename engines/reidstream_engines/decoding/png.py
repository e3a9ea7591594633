"""Checks the chunks of a PNG, and removes some, before libpng sees it.

Why: libpng writes messages about truncated files and unusual colour profiles to the process's stderr, and nobody can
stop it. Only critical chunks change pixels here (alpha and transparency are dropped), so the others are left out. Trap:
a chunk may have only 12 bytes, so the number of chunks is bounded. And OpenCV makes room for a chunk before it looks
whether the file has it: in 45 kB without pixels it went on reading behind the end, and took 2.8 GB and three seconds.
"""

from __future__ import annotations

from reidstream_engines.errors import InvalidImage

MAX_CHUNKS = 65_536
_SIGNATURE_BYTES = 8
_CHUNK_OVERHEAD = 12  # length, type, checksum
_ANCILLARY = 0x20  # this bit of a type's first letter
_HEADER, _PALETTE, _PIXELS, _END = b"IHDR", b"PLTE", b"IDAT", b"IEND"


def critical_chunks(data: bytes) -> bytes:
    """The same picture without its ancillary chunks.

    `data` begins with a PNG's signature; it is returned unchanged if it has no such chunks. Raises InvalidImage for a
    file that ends before the end of its IEND chunk, that has no pixels, or a critical chunk that is unknown or a second
    header. Bytes after that chunk are left out.
    """
    kept: list[memoryview] = []
    view = memoryview(data)
    start = at = _SIGNATURE_BYTES
    has_pixels = False
    for _ in range(MAX_CHUNKS):
        kind = data[at + 4 : at + 8]
        end = at + _CHUNK_OVERHEAD + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise InvalidImage(f"the PNG is truncated: its {len(data)} bytes have no complete IEND chunk")
        if kind[0] & _ANCILLARY:
            kept.append(view[start:at])
            start = end
        elif kind == _PIXELS:
            has_pixels = True
        elif kind not in (_PALETTE, _END) and (kind, at) != (_HEADER, _SIGNATURE_BYTES):
            raise InvalidImage(f"the PNG is damaged: at byte {at} is a chunk {kind!r}, which does not belong there")
        at = end
        if kind == _END:
            break
    else:
        raise InvalidImage(f"the PNG has more than {MAX_CHUNKS} chunks, the most that are read")
    if not has_pixels:
        raise InvalidImage("the PNG is damaged: it has no pixels before its end")
    return b"".join([view[:_SIGNATURE_BYTES], *kept, view[start:at]]) if kept or at < len(data) else data
