"""When a call may go on: its source pays for what calls cost the event loop, and nobody else waits for that.

Why: a call costs the event loop something before anybody knows what it asks, and nothing else bounds how many a second
may come. So each has a fixed cost, by its kind. A part of the time is free, as for frames that are read for nothing
(`core.sources`); who takes more is not read for a while, and its calls wait here in the order in which they came. A
connection may have so many calls open and no more, so calls that wait keep others from coming.

Traps: what is to be refused waits as well, or refusals would be free. A call that its client has left waits on, since
it keeps its place of its connection only while its handler runs. But if its connection is gone, that place is gone too:
then the call is charged, and waits no more, or a client that comes back would fill the server with calls that nobody is
there to take. A call cannot see why it was left, so the connections are looked at. And a call goes on a moment after
its source has paid: frames of the same source come first.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import TooManyCalls

CALL_NS = 500_000
"""A call without its work: gRPC takes it in, its message is read, its status is sent; or a question of reflection.
Measured: 0.3 to 0.5 ms of the event loop, for GetModel, Check, a refused Embed, and a question.
"""

OPENING_NS = 1_250_000
"""A stream without its frames: it is agreed on, perhaps taken over, and ends. Measured: 0.9 to 1.3 ms."""

_FRAMES_FIRST_S = 0.001
"""After its pause a source's sessions are told, and read what has come. Then its calls go on."""


LOOK_S = 0.25
"""Between the moment when a call is left, or a look, and the next look at the connections."""

_AT_ONCE, _REST_S = 32, 0.005

Connected: TypeAlias = Callable[[], Awaitable[AbstractSet[str] | None]]
"""The other ends of all connections that are open, as gRPC writes them; None if nobody knows."""


class Payments(Protocol):
    """Who pays, as the runtime knows it."""

    __slots__ = ()

    @abstractmethod
    def pause_s(self, source: str) -> float:
        """How long nothing of a source is to be read, from now on."""
        ...

    @abstractmethod
    def called(self, source: str, cost_ns: int) -> None:
        """A call of a source takes so much of the event loop. It pays if that is more than is free."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """Of a call that waits, and of the connection that it came on. `cost_ns`: 0 if it has been charged before."""

    peer: str
    cost_ns: int
    came: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def goes_on(self) -> None:
        """It waits no more. Harmless to repeat, and for a call that was ended meanwhile."""
        if not self.came.done():
            self.came.set_result(None)


class CallTurns:
    """The calls that wait because their sources pay: `most` at a time. Event loop only."""

    def __init__(self, most: int, payments: Payments, connected: Connected) -> None:
        self._payments = payments
        self._connected = connected
        self._places: Pool[str] = Pool(most)
        self._lines: dict[str, deque[_Turn]] = {}
        self._left: dict[_Turn, str] = {}  # calls that their clients have left, with their sources
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Calls."""
        return self._places.taken

    async def wait(self, source: str, peer: str, cost_ns: int) -> None:
        """Until the call may go on, for which its source is charged. Raises TooManyCalls if too many wait."""
        if self._goes_on(source):
            self._payments.called(source, cost_ns)
            return
        places, mine = self._places, self._places.of(source)
        if places.taken >= places.most or (mine and not places.fits(source, 1)):
            self._payments.called(source, cost_ns)
            raise TooManyCalls(
                f"{places.taken} calls wait because their clients have called too often, {mine} of them from this "
                f"client; the limit is {places.most}, and one client gets at most half of it; call less often"
            )
        turn = _Turn(peer, cost_ns)
        self._line(source).append(turn)
        await self._come(source, turn)

    async def again(self, source: str, peer: str) -> None:
        """Until a call that was charged may go on: others of its source were read meanwhile. It comes first."""
        if self._payments.pause_s(source) > 0 and not self._closed:
            turn = _Turn(peer, 0)
            self._line(source).appendleft(turn)
            await self._come(source, turn)

    def close(self) -> None:
        """Let all go on, now and from now on: the port stops."""
        self._closed = True
        for source in list(self._lines):
            self._next(source)

    def _goes_on(self, source: str) -> bool:
        return self._closed or (source not in self._lines and self._payments.pause_s(source) <= 0)

    def _line(self, source: str) -> deque[_Turn]:
        line = self._lines.get(source)
        if line is None:
            line = self._lines[source] = deque()
            self._look_later(source)
        return line

    async def _come(self, source: str, turn: _Turn) -> None:
        self._places.take(source, 1)
        try:
            await asyncio.shield(turn.came)
        except asyncio.CancelledError:
            if not turn.came.done():
                self._leave(source, turn)
                await turn.came
            raise
        finally:
            self._left.pop(turn, None)
            self._places.give_back(source, 1)

    def _leave(self, source: str, turn: _Turn) -> None:
        """The call's client has left it, with its connection or without."""
        self._left[turn] = source
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_at_connections())

    async def _look_at_connections(self) -> None:
        """Let go of calls whose connections are gone, as long as calls wait that were left."""
        while self._left and not self._closed:
            await asyncio.sleep(LOOK_S)
            left = dict(self._left)  # those that are left during the look are for the next one
            connected = await self._connected()
            if connected is not None:
                await self._let_go({turn: source for turn, source in left.items() if turn.peer not in connected})
        self._looking = None

    async def _let_go(self, gone: Mapping[_Turn, str]) -> None:
        """These calls wait no more, though their turns have not come. Their sources pay for them all the same."""
        for source in dict.fromkeys(gone.values()):
            line = self._lines.get(source, deque())
            mine = [turn for turn in line if turn in gone]
            for turn in mine:
                line.remove(turn)  # nearly always the first
            self._charge(source, sum(turn.cost_ns for turn in mine))
            for number, turn in enumerate(mine, 1):
                turn.goes_on()
                if number % _AT_ONCE == 0:  # to end a call takes the event loop some time, too
                    await asyncio.sleep(_REST_S)

    def _next(self, source: str) -> None:
        """Let the calls of a source go on, until it has to pay again."""
        line = self._lines.get(source)
        while line:
            if not self._closed and self._payments.pause_s(source) > 0:
                self._look_later(source)
                return
            turn = line.popleft()
            self._charge(source, turn.cost_ns)
            turn.goes_on()
        self._lines.pop(source, None)

    def _charge(self, source: str, cost_ns: int) -> None:
        if cost_ns:
            self._payments.called(source, cost_ns)

    def _look_later(self, source: str) -> None:
        seconds = self._payments.pause_s(source) + _FRAMES_FIRST_S
        asyncio.get_running_loop().call_later(seconds, self._look, source)

    def _look(self, source: str) -> None:
        """Its pause is over, perhaps. Its sessions have been told in this turn of the event loop, and go first."""
        asyncio.get_running_loop().call_soon(self._next, source)
