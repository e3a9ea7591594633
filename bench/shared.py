"""Messages by handle: the pixels of raw frames in memory that the load generator shares with the server.

Why not the product's client: the generator shares the machine with what it measures, and sends ready messages.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

from reidstream_proto.v1 import service_pb2, session_pb2

_MAGIC, _NONCE = b"reidstream/shm/1", b"bench, no secret"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | 0x10  # F_SEAL_FUTURE_WRITE


@dataclass(frozen=True, slots=True)
class SharedFrames:
    """`offer` may be made by every session; `messages` have ranges for their pixels."""

    offer: session_pb2.SharedMemory
    messages: list[bytes]


def by_handle(messages: Sequence[bytes]) -> SharedFrames:
    """The same frames, which must be raw. The memory lives as long as the process."""
    requests = [service_pb2.EmbedStreamRequest.FromString(message) for message in messages]
    size = mmap.PAGESIZE + sum(_pages(len(request.frame.raw.data)) for request in requests)
    file = os.memfd_create("reidstream-bench", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    with mmap.mmap(file, size) as memory:
        memory[: len(_MAGIC + _NONCE)] = _MAGIC + _NONCE
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
