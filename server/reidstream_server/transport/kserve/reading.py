"""A request while it is read: parsed, and made a plan of.

Both take one turn of the thread of large messages, if the request is large: with a turn for each, all requests of a
client would be parsed before the first of them is planned, and nobody would count their bytes.

Why a refused one is paid for: a tensor of the largest size takes a core 20 ms and more before anybody can say that it
is the wrong one, and clients may send such tensors without end. Trap: a frame that has a fault is paid for by the
scheduler. So only what ends in an exception is paid for here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from reidstream_server.errors import CallRefused
from reidstream_server.transport.entrance.apart import Apart, Turn

T = TypeVar("T")


class Reading:
    """An `async with` block is the reading of a request. `pay`: has a source pay. `turn`: if it has one already.
    `spent_ns`: of a core, so far. `began_ns`: monotonic. Event loop only.
    """

    def __init__(
        self,
        apart: Apart,
        source: str,
        pay: Callable[[str, int], None],
        *,
        turn: Turn | None = None,
        spent_ns: int = 0,
    ) -> None:
        self._apart = apart
        self._source = source
        self._pay = pay
        self._turn = turn
        self._held = AsyncExitStack()
        self.spent_ns = spent_ns
        self.began_ns = time.monotonic_ns()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._held.aclose()
        if isinstance(exc, CallRefused):
            self._pay(self._source, self.spent_ns)

    async def do(self, work: Callable[[], T], *, large: bool) -> T:
        """What `work` returns, or raises: in the thread if it is `large` or something before it was, else here. Raises
        GoingAway.
        """
        if large and self._turn is None:
            self._turn = await self._held.enter_async_context(self._apart.turn(self._source))
        timed = partial(self._timed, work)
        del work  # an exception keeps this frame
        if self._turn is None:
            return timed()
        return (await self._turn.do(timed)).value

    def _timed(self, work: Callable[[], T]) -> T:
        """Any thread."""
        began = time.thread_time_ns()
        try:
            return work()
        finally:
            del work
            self.spent_ns += time.thread_time_ns() - began
