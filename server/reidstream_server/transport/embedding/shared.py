"""Shared memory, agreed on when a session opens: who may offer it, and what is answered.

Why a refusal is an answer, not an error: the client then sends its pixels in messages, and only time is lost. Trap:
only a peer on this machine may name a process here; a process id of another machine means nothing, or somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reidstream_proto.v1 import session_pb2
from reidstream_server.errors import SharedMemoryRefused
from reidstream_server.logs import get_logger
from reidstream_server.transport.grpc_server.caller import on_this_machine

from .shared_segment import Segment, open_segment

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemoryTerms:
    """What the operator allows. `max_bytes`: 0 for nothing. `max_copied_bytes`: for the pixels of a frame that turn out
    not to be in memory; as many as a message could have brought.
    """

    max_bytes: int
    max_copied_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """What a session has. `answer` is None if nothing was offered, `segment` is None if nothing was accepted."""

    segment: Segment | None
    answer: session_pb2.SharedMemoryAgreed | None


@contextmanager
def shared_memory(opening: session_pb2.SessionOpen, peer: str, terms: SharedMemoryTerms) -> Iterator[SharedMemory]:
    """Accept what the opening offers, for as long as the session lasts. `peer`: as gRPC writes it."""
    if not opening.HasField("shared_memory"):
        yield SharedMemory(segment=None, answer=None)
        return
    try:
        segment = _taken(opening.shared_memory, peer, terms)
    except SharedMemoryRefused as refused:
        log.info("shared_memory_refused", peer=peer, reason=str(refused))
        yield SharedMemory(segment=None, answer=session_pb2.SharedMemoryAgreed(refusal=str(refused)))
        return
    try:
        yield SharedMemory(segment=segment, answer=session_pb2.SharedMemoryAgreed(size_bytes=segment.size_bytes))
    finally:
        segment.close()


def _taken(offer: session_pb2.SharedMemory, peer: str, terms: SharedMemoryTerms) -> Segment:
    """Raises SharedMemoryRefused."""
    if not terms.max_bytes:
        raise SharedMemoryRefused("shared memory is turned off on this server (its setting shared_memory)")
    if not on_this_machine(peer):
        raise SharedMemoryRefused(
            f"shared memory needs a client on this machine that connects to a loopback address, not {peer}"
        )
    return open_segment(offer, max_bytes=terms.max_bytes, max_copied_bytes=terms.max_copied_bytes)
