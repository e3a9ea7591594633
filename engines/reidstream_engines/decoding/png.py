"""Checks the chunks of a PNG, and removes some, before libpng sees it.

Why: libpng writes messages about truncated files and unusual colour profiles to the process's stderr, and nobody can
stop it. Only critical chunks change pixels here (alpha and transparency are dropped), so the others are left out. Trap:
a chunk may have only 12 bytes, so the number of chunks is bounded.
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

    `data` begins with a PNG's signature; it is returned unchanged if it has no such chunks. Raises InvalidImage for a
    file that ends before the end of its IEND chunk. Bytes after that chunk are ignored.
    """
    kept: list[memoryview] = []
    view = memoryview(data)
    start = at = _SIGNATURE_BYTES
    for _ in range(MAX_CHUNKS):
        if at + _CHUNK_OVERHEAD > len(data):
            raise InvalidImage(f"the PNG is truncated: its {len(data)} bytes have no complete IEND chunk")
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
        raise InvalidImage(f"the PNG has more than {MAX_CHUNKS} chunks, the most that are read")
    return b"".join([view[:_SIGNATURE_BYTES], *kept, view[start:at]]) if kept else data
