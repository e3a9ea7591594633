"""Walks a PNG before libpng sees it.

Why: libpng writes its complaints about truncated files and odd colour profiles to the process's stderr, where nobody
can stop it. Nothing but the critical chunks moves a pixel here (alpha and transparency are dropped), so the others are
left out. Trap: a chunk may be 12 bytes of nothing, so their number is bounded.
"""

from __future__ import annotations

import struct

from reidstream_engines.errors import InvalidImage

MAX_CHUNKS = 65_536
_SIGNATURE_BYTES = 8
_CHUNK_OVERHEAD = 12  # length, type, checksum
_ANCILLARY = 0x20  # this bit of a type's first letter
_END = b"IEND"


def critical_chunks(data: bytes) -> bytes:
    """The same picture without its ancillary chunks.

    `data` has a PNG's signature; it is returned itself where there is nothing to leave out. Raises InvalidImage for a
    file that ends before its IEND chunk does; what follows that is ignored.
    """
    kept: list[memoryview] = []
    view = memoryview(data)
    start = at = _SIGNATURE_BYTES
    for _ in range(MAX_CHUNKS):
        if at + _CHUNK_OVERHEAD > len(data):
            raise InvalidImage(f"PNG is truncated: {len(data)} bytes, and no IEND chunk")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + _CHUNK_OVERHEAD + length
        if kind[0] & _ANCILLARY:
            kept.append(view[start:at])
            start = end
        at = end
        if kind == _END:
            break
    else:
        raise InvalidImage(f"PNG has more than {MAX_CHUNKS} chunks")
    return b"".join([view[:_SIGNATURE_BYTES], *kept, view[start:at]]) if kept else data
