"""Large messages: one at a time is joined, parsed and read, with a rest after each.

Why: gRPC joins the parts of a message on the event loop, which takes 20 to 80 ms for 60 MiB and cannot be interrupted.
Parsing it, or reading the headers of a thousand crops, takes as long. A few connections can send such messages without
end, and everybody would stand still meanwhile. So what can be is done in a thread of its own, with a rest after each.
While all open sessions are of sources that send such messages, the rest is as long as the message took: all of it
together takes half of the interpreter. Beside others it is three times as long: a quarter, as for all that is free of
charge. So a camera with small frames meets a large message at every fourth step, and not at every second one. Sources
have their turns in a ring, so a source with many of them waits for itself.

Trap: a call that is over drops its message at once if it still waits, since it may be large. One that is being read
cannot be stopped; it ends alone, and what comes of it is dropped. So what is read here must be safe while the event
loop ends its session, and the turn lasts until the thread is through.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from reidstream_server.errors import GoingAway
from reidstream_server.logs import get_logger
from reidstream_server.runtime.workers import Workers

log = get_logger(__name__)

T = TypeVar("T")

MOST_SENDERS = 1024

RESTS, RESTS_BESIDE_OTHERS = 1, 3
"""So many times as long as the message took."""

_NAME = "large-messages"


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What came of it, and how long the thread was at work."""

    value: T
    spent_ns: int


class Turn:
    """A large message of a source is being taken. `spent_ns`: what it took so far. Event loop only."""

    __slots__ = ("_carry_out", "over", "source", "spent_ns", "working")

    def __init__(self, source: str, carry_out: Callable[[Turn, Callable[[], Any]], asyncio.Future[Done[Any]]]) -> None:
        self.source = source
        self._carry_out = carry_out
        self.spent_ns = 0
        self.working = self.over = False

    @contextmanager
    def spends(self) -> Iterator[None]:
        """Around what the event loop does for it."""
        began = time.thread_time_ns()
        try:
            yield
        finally:
            self.spent_ns += time.thread_time_ns() - began

    async def do(self, work: Callable[[], T]) -> Done[T]:
        """What `work` returns, or raises, in the thread."""
        try:
            done: Done[T] = await self._carry_out(self, work)
            return done
        finally:
            del work  # an exception keeps this frame


class Apart:
    """Gives out the turns. Its thread starts with the first work. Event loop only.

    `serves_others`: whether a session is open of none of these sources.
    """

    def __init__(self, serves_others: Callable[[AbstractSet[str]], bool]) -> None:
        self._serves_others = serves_others
        self._workers: Workers | None = None
        self._waiting: dict[str, deque[asyncio.Future[Turn]]] = {}  # of each source; whose turn is next comes first
        self._senders: dict[str, None] = {}  # sources that have sent a large message, the last one last
        self._letting_go: set[asyncio.Task[None]] = set()
        self._busy = False
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Large messages that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    async def do(self, source: str, work: Callable[[], T]) -> Done[T]:
        """What `work` returns, or raises, in the thread, in a turn of its own. Raises GoingAway when the service is
        closed.
        """
        try:
            async with self.turn(source) as turn:
                return await turn.do(work)
        finally:
            del work

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[Turn]:
        """Around all that a large message takes. `source`: who is held responsible. Raises GoingAway when the service
        is closed.
        """
        if self._closed:
            raise _closed()
        coming: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(coming)
        self._next()
        try:
            yield await coming
        finally:
            if not coming.done() or coming.cancelled() or coming.exception() is not None:
                self._drop(source, coming)
            else:
                turn = coming.result()
                turn.over = True
                self._rest_after(turn)

    def sends_large(self, source: str) -> bool:
        """Whether the source has sent a large message before."""
        return source in self._senders

    def notice_large(self, source: str) -> None:
        """The source has sent a large message. Only so many sources are remembered."""
        self._senders.pop(source, None)
        self._senders[source] = None
        if len(self._senders) > MOST_SENDERS:
            del self._senders[next(iter(self._senders))]

    def let_go(self, source: str, join: Callable[[], Awaitable[object]]) -> None:
        """Have a message joined that nobody wants any more, in a turn of its own."""
        task = asyncio.create_task(self._let_go(source, join))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _let_go(self, source: str, join: Callable[[], Awaitable[object]]) -> None:
        with suppress(Exception, asyncio.CancelledError):  # its call is over, which gRPC says in one way or another
            async with self.turn(source) as turn:
                with turn.spends():
                    await join()

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
        for line in self._waiting.values():
            for coming in line:
                if not coming.done():
                    coming.set_exception(_closed())
        self._waiting.clear()
        if self._workers is not None:
            self._workers.end()

    def _drop(self, source: str, coming: asyncio.Future[Turn]) -> None:
        """It waits no more, if it did."""
        line = self._waiting.get(source)
        if line is not None and coming in line:
            line.remove(coming)
            if not line:
                del self._waiting[source]

    def _next(self) -> None:
        """Begin the first turn of the source that is next."""
        while not self._busy and not self._closed and self._waiting:
            source = next(iter(self._waiting))
            line = self._waiting.pop(source)
            coming = line.popleft()
            if line:
                self._waiting[source] = line
            if not coming.done():  # its call is over
                self._busy = True
                coming.set_result(Turn(source, self._begin))

    def _begin(self, turn: Turn, work: Callable[[], Any]) -> asyncio.Future[Done[Any]]:
        """Have the thread do it."""
        if self._closed:
            raise _closed()
        if self._workers is None:
            self._workers = Workers(1, _NAME, _failed)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Done[Any]] = loop.create_future()
        turn.working = True
        self._workers.submit(self._carry_out, turn, work, answer, loop)
        return answer

    def _carry_out(
        self, turn: Turn, work: Callable[[], Any], answer: asyncio.Future[Done[Any]], loop: asyncio.AbstractEventLoop
    ) -> None:
        """In the thread."""
        began, value, failure = time.thread_time_ns(), None, None
        try:
            value = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits
            failure = error
        spent_ns = time.thread_time_ns() - began
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(self._done, turn, answer, Done(value, spent_ns), failure)

    def _done(self, turn: Turn, answer: asyncio.Future[Done[Any]], done: Done[Any], failure: Exception | None) -> None:
        turn.working = False
        turn.spent_ns += done.spent_ns
        if answer.done():
            pass  # its call is over
        elif failure is None:
            answer.set_result(done)
        else:
            answer.set_exception(failure)
        self._rest_after(turn)

    def _rest_after(self, turn: Turn) -> None:
        """Both its call and the thread must be through with it."""
        if turn.over and not turn.working and not self._closed:
            others = self._serves_others(self._senders.keys() | {turn.source})
            rests = RESTS_BESIDE_OTHERS if others else RESTS
            self._resting = asyncio.get_running_loop().call_later(rests * turn.spent_ns / 1e9, self._rested)

    def _rested(self) -> None:
        self._busy = False
        self._next()


def _closed() -> GoingAway:
    return GoingAway("the server is stopping; send the frames to another server")


_failed = partial(log.failure, "large_message_not_read")
