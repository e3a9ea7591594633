"""The body of a request: what has come of it, and a reader that waits for more.

Why pieces: the connection keeps what comes as it comes, and a handler takes it so. Most bodies are one piece, which
nobody copies and nobody waits for.

Traps: a body may have no length (chunked), a wrong one, or no end. What is too much is never kept for long: it is
counted while it comes. And a reader may still wait when its request has been answered, since nobody cancels a read; so
the end of the request ends it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from reidstream_server.errors import InvalidCall, TooLarge

FULL_BYTES = 64 * 2**10
"""So much of a body may have come that its reader has not taken yet."""


class ClientGone(Exception):
    """The client has closed its connection, or has its answer; nobody is left to be answered."""


class Body:
    """`declared`: its length, if the client has said. `most`: bytes that are read of it. `count`: of what has come and
    is held. `ended`: all of it has come. `wanted` is called when a reader begins, and when it waits for more. Event
    loop only, but for `count`.
    """

    __slots__ = ("_begun", "_broken", "_more", "_pieces", "_untaken", "_wanted", "count", "declared", "ended", "most")

    def __init__(self, *, declared: int | None, most: int, wanted: Callable[[], None]) -> None:
        self.declared = declared
        self.most = most
        self.count = 0
        self.ended = False
        self._wanted = wanted
        self._begun = False
        self._untaken = 0
        self._pieces: deque[bytes] = deque()
        self._more: asyncio.Future[None] | None = None
        self._broken: str | None = None

    # The connection.

    @property
    def full(self) -> bool:
        """No more of it is to be read now: nobody takes it, or not fast enough."""
        if self.ended or self._broken is not None:
            return False
        if self._begun:
            return self._untaken > FULL_BYTES
        return self.declared is None or self.declared > FULL_BYTES  # a small one is as good as here

    def came(self, piece: bytes) -> None:
        """More of it."""
        if self._broken is None:
            self.count += len(piece)
            self._untaken += len(piece)
            self._pieces.append(piece)
            self._wake()

    def ends(self) -> None:
        """That was all."""
        self.ended = True
        self._wake()

    def breaks(self, why: str) -> None:
        """There is no more of it, and what there is is dropped. Whoever reads it hears why; "": nobody waits for the
        answer any more. The first reason counts.
        """
        if self._broken is None:
            self._broken = why
        self._pieces.clear()
        self.count = self._untaken = 0
        self._wake()

    # Its reader.

    @property
    def here(self) -> bool:
        """Whether it can be read without waiting for anybody."""
        return self.ended or self._broken is not None

    async def pieces(self) -> AsyncIterator[bytes]:
        """What comes, as it comes. Raises TooLarge, ClientGone, InvalidCall."""
        if self.declared is not None and self.declared > self.most:
            raise self._too_large(f"{self.declared} bytes")
        self._begun = True
        self._wanted()
        while True:
            while self._pieces:
                if self.count > self.most:
                    raise self._too_large(f"more than {self.most} bytes")
                piece = self._pieces.popleft()
                self._untaken -= len(piece)
                yield piece
            if self._broken is not None:
                raise InvalidCall(self._broken) if self._broken else ClientGone
            if self.ended:
                return
            await self._come()

    async def whole(self) -> bytes:
        """All of it. Raises TooLarge, ClientGone, InvalidCall."""
        return b"".join([piece async for piece in self.pieces()])

    async def _come(self) -> None:
        """Wait for more."""
        self._wanted()
        self._more = asyncio.get_running_loop().create_future()
        try:
            await self._more
        finally:
            self._more = None

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def _too_large(self, what: str) -> TooLarge:
        return TooLarge(f"the body has {what}; the limit is {self.most} (max_message_bytes); send less at a time")
