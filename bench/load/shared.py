"""Messages by handle: the pixels of raw frames in memory that the load generator shares with the server.

It does not use the product's client, because the generator sends ready messages (see `generator`).
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_proto.v1.contract import SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_NONCE_BYTES, SEGMENT_SEALS

_NONCE: Final = b"bench, no secret".ljust(SEGMENT_NONCE_BYTES)
_SEALS: Final = functools.reduce(operator.or_, SEGMENT_SEALS.values())


@dataclass(frozen=True, slots=True)
class SharedFrames:
    """Every session may make this `offer`; `messages` hold ranges in place of pixels."""

    offer: session_pb2.SharedMemory
    messages: list[bytes]


def by_handle(messages: Sequence[bytes]) -> SharedFrames:
    """The same frames by handle. They must be raw; the memory lives as long as the process."""
    requests = [service_pb2.EmbedStreamRequest.FromString(message) for message in messages]
    size = mmap.PAGESIZE + sum(_pages(len(request.frame.raw.data)) for request in requests)
    file = os.memfd_create("reidstream-bench", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    with mmap.mmap(file, size) as memory:
        memory[:SEGMENT_HEADER_BYTES] = SEGMENT_MAGIC + _NONCE
        offset = mmap.PAGESIZE
        for request in requests:
            raw = request.frame.raw
            raw.shared.offset_bytes, raw.shared.length_bytes = offset, len(raw.data)
            memory[offset : offset + len(raw.data)] = raw.data
            offset += _pages(len(raw.data))
            raw.ClearField("data")
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    offer = session_pb2.SharedMemory(pid=os.getpid(), fd=file, size_bytes=size, nonce=_NONCE)
    return SharedFrames(offer, [request.SerializeToString() for request in requests])


def _pages(length: int) -> int:
    return -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
