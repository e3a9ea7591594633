"""What comes on a connection, counted: heads, bodies, chunks, trailers, and what reading them costs.

Why: the parser takes heads and trailers of any size, and chunks of one byte, each of which costs as much as a large
one. Trap: trailers and the lengths of chunks are neither head nor body, so they are what has come since the last byte
of a body.
"""

from __future__ import annotations

MAX_HEAD_BYTES = 16 * 2**10

MANY_CHUNKS = 4096
"""A body may come in so many chunks, of any size; in more, if they have `CHUNK_BYTES` on average. Each costs the event
loop two microseconds.
"""

CHUNK_BYTES = 256

BYTE_NS = 1
"""What reading a byte of a request takes of the event loop, whatever becomes of it."""


class Incoming:
    """`in_head`: no body is expected now. `begun`: of a request, something has come, and not all."""

    def __init__(self) -> None:
        self.in_head = True
        self.begun = False
        self._head_bytes = 0
        self._loose_bytes = 0
        self._chunks = self._body_bytes = 0
        self._unpaid_bytes = 0

    @property
    def head_too_long(self) -> bool:
        """A head that is not whole has too many bytes."""
        return self.in_head and self._head_bytes > MAX_HEAD_BYTES

    @property
    def trailers_too_long(self) -> bool:
        """Too much has come in place of a body."""
        return not self.in_head and self._loose_bytes > MAX_HEAD_BYTES

    @property
    def chunks_too_small(self) -> bool:
        """The body comes in too many chunks."""
        return self._chunks > MANY_CHUNKS and self._chunks * CHUNK_BYTES > self._body_bytes

    def came(self, size: int) -> None:
        """A piece, before it is parsed."""
        self._unpaid_bytes += size
        self._loose_bytes += size
        if self.in_head:
            self._head_bytes += size

    def head_begins(self) -> None:
        """The first byte of a request."""
        self.in_head = self.begun = True

    def head_ends(self) -> None:
        """A body may follow."""
        self.in_head, self._head_bytes, self._loose_bytes, self._chunks, self._body_bytes = False, 0, 0, 0, 0

    def body(self, size: int) -> None:
        """A chunk of a body, or as much of it as a piece had."""
        self._chunks += 1
        self._body_bytes += size
        self._loose_bytes = 0

    def message_ends(self) -> None:
        """All of a request has come."""
        self.in_head, self.begun, self._head_bytes = True, False, 0

    def cost_ns(self) -> int:
        """Of the event loop, for reading what has come since this was asked last."""
        cost, self._unpaid_bytes = self._unpaid_bytes * BYTE_NS, 0
        return cost
