"""Large messages, parsed and read in one thread of their own: one at a time, with a rest after each.

Why: parsing 60 MiB, or reading the headers of a thousand crops, takes 25 to 100 ms, and a few connections can send such
messages without end. On the event loop everybody would stand still meanwhile. Here they take at most half of the
interpreter, all of them together: after each one the event loop has as much time as that one took. Sources have their
turns in a ring, so a source with many of them waits for itself.

Trap: a call that is over drops its message at once if it still waits, since it may be large. One that is being read
cannot be stopped; it ends alone, and what comes of it is dropped. So what is read here must be safe while the event
loop ends its session.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from reidstream_server.errors import GoingAway
from reidstream_server.logs import get_logger
from reidstream_server.runtime.workers import Workers

log = get_logger(__name__)

T = TypeVar("T")

_NAME = "large-messages"


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What came of it, and how long the thread was at work."""

    value: T
    spent_ns: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Piece:
    """`answer`: a `Done` of what `work` returns. Done by others when its call is over."""

    work: Callable[[], Any]
    answer: asyncio.Future[Done[Any]]


class Apart:
    """The thread and those that wait for it. It starts with the first. Event loop only."""

    def __init__(self) -> None:
        self._workers: Workers | None = None
        self._waiting: dict[str, deque[_Piece]] = {}  # of each source; whose turn is next comes first
        self._busy = False
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return sum(map(len, self._waiting.values()))

    async def do(self, source: str, work: Callable[[], T]) -> Done[T]:
        """What `work` returns, or raises, in the thread. `source`: who is held responsible. Raises GoingAway when it
        is closed.
        """
        if self._closed:
            raise _closed()
        piece = _Piece(work, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(source, deque()).append(piece)
        self._next()
        try:
            done: Done[T] = await piece.answer
            return done
        finally:
            self._drop(source, piece)
            del piece, work  # an exception keeps this frame

    async def do_if(self, large: bool, source: str, work: Callable[[], T]) -> Done[T]:  # noqa: FBT001 - it reads well
        """What `work` returns, or raises: in the thread if it is `large`, else here and now. Raises GoingAway."""
        if large:
            return await self.do(source, work)
        began = time.monotonic_ns()
        value = work()
        return Done(value, time.monotonic_ns() - began)

    def close(self) -> None:
        """Take nothing more, and refuse what waits. The thread ends when it is through. Harmless to repeat."""
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        for pieces in self._waiting.values():
            for piece in pieces:
                if not piece.answer.done():
                    piece.answer.set_exception(_closed())
        self._waiting.clear()
        if self._workers is not None:
            self._workers.end()

    def _drop(self, source: str, piece: _Piece) -> None:
        """It waits no more, if it did."""
        pieces = self._waiting.get(source)
        if pieces is not None and piece in pieces:
            pieces.remove(piece)
            if not pieces:
                del self._waiting[source]

    def _next(self) -> None:
        """Begin the first piece of the source whose turn it is."""
        if self._busy or self._closed or not self._waiting:
            return
        source = next(iter(self._waiting))
        pieces = self._waiting.pop(source)
        piece = pieces.popleft()
        if pieces:
            self._waiting[source] = pieces
        if self._workers is None:
            self._workers = Workers(1, _NAME, _failed)
        self._busy = True
        self._workers.submit(self._carry_out, piece, asyncio.get_running_loop())

    def _carry_out(self, piece: _Piece, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        began, value, failure = time.thread_time_ns(), None, None
        try:
            value = piece.work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits
            failure = error
        spent_ns = time.thread_time_ns() - began
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(self._done, piece, Done(value, spent_ns), failure)

    def _done(self, piece: _Piece, done: Done[Any], failure: Exception | None) -> None:
        if piece.answer.done():
            pass  # its call is over
        elif failure is None:
            piece.answer.set_result(done)
        else:
            piece.answer.set_exception(failure)
        if not self._closed:
            self._resting = asyncio.get_running_loop().call_later(done.spent_ns / 1e9, self._rested)

    def _rested(self) -> None:
        self._busy = False
        self._next()


def _closed() -> GoingAway:
    return GoingAway("the server is stopping; send the frames to another server")


_failed = partial(log.failure, "large_message_not_read")
