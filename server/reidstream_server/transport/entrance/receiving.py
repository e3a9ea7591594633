"""The one message of a call, at whatever door: a bounded number is received at a time.

Why: a message that is being received is memory, and its sender decides how long. A call whose message nobody reads
holds what its window lets in, and no more. So a call takes a *place* first. There are a few in all; nobody has more
than is still free, and one that has nothing gets a free one. Whoever finds no place waits for one: an honest message is
there in a moment. If places are held for long while somebody with fewer waits, the oldest of those who hold most gives
way.

Traps: a place is given back when the read is over, not when we no longer want it: until then the bytes are there. And a
read is never cancelled: a message that gRPC takes in after that would stay in memory for ever. It ends with its call.
Hundreds of calls of one source may wait, so each has its place in its source's line, and nobody looks at all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import TooManyCalls, TooSlow

M_co = TypeVar("M_co", covariant=True)


class Readable(Protocol[M_co]):
    """Where a message comes from."""

    def read(self) -> Awaitable[M_co]:
        """The next message, or what says that there is none."""
        ...


@dataclass(slots=True, eq=False)
class _Place:
    """Held while a message is received. `gave_way` is done when somebody else needs it more."""

    source: str
    since_s: float
    gave_way: asyncio.Future[object] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Reception:
    """`places`: messages received at a time. `timeout_s`: for a place, and then again for the message. `patience_s`:
    how long a place is its holder's whoever waits. Event loop only.
    """

    def __init__(self, *, places: int, timeout_s: float, patience_s: float) -> None:
        self._pool: Pool[str] = Pool(places)
        self.timeout_s = timeout_s
        self._patience_s = patience_s
        self._held: dict[_Place, None] = {}  # the oldest first
        self._lines: dict[str, dict[asyncio.Future[_Place], int]] = {}  # who waits, by source, in order; with a number
        self._came = 0
        self._looking: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """Places that are held: messages that are being received."""
        return self._pool.taken

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return sum(map(len, self._lines.values()))

    async def receive(self, readable: Readable[M_co], source: str, *, here: bool = False) -> M_co:
        """What is read, or what the read raises. `here`: all of it has come, so the read waits for nobody. Raises
        TooSlow if it does not arrive in time, and TooManyCalls if others need the place more or there is none.
        """
        place = await self._place(source)
        if here:  # it holds the place for no time: there is nobody to watch it
            try:
                return await readable.read()
            finally:
                self._give_back(place)
        read = asyncio.ensure_future(readable.read())
        read.add_done_callback(partial(self._read, place))
        both: set[asyncio.Future[Any]] = {read, place.gave_way}
        await asyncio.wait(both, timeout=self.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if read.done():
            return read.result()
        if place.gave_way.done():
            raise TooManyCalls(
                f"the message has been arriving for {self._age_s(place):.1f} s while {self._pool.most} are received, "
                "which is the limit, and others wait; send it again, faster or fewer at a time"
            )
        raise TooSlow(
            f"the message did not arrive within {self.timeout_s:g} s (receive_timeout_s); send it at once, or make it "
            "smaller"
        )

    async def _place(self, source: str) -> _Place:
        if self._pool.taken < self._pool.most and not self._lines and self._may_have(source):
            return self._hand_out(source)
        turn: asyncio.Future[_Place] = asyncio.get_running_loop().create_future()
        self._came += 1
        self._lines.setdefault(source, {})[turn] = self._came
        self._assign()
        if turn.done():
            return turn.result()
        try:
            await asyncio.wait({turn}, timeout=self.timeout_s)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(turn.result())
            raise
        finally:
            self._leave_line(source, turn)
        if not turn.done():
            raise TooManyCalls(
                f"{self.taken} messages are being received, {self._pool.of(source)} of them from this client, and no "
                f"place was free for {self.timeout_s:g} s (receive_timeout_s); have fewer calls open at a time"
            )
        return turn.result()

    def _assign(self) -> None:
        """Give out what is free, to those who have least; then see who must give way to the others."""
        while self._pool.taken < self._pool.most and (source := self._next()) is not None:
            turn = next(iter(self._lines[source]))
            self._leave_line(source, turn)
            turn.set_result(self._hand_out(source))
        self._make_room()

    def _next(self) -> str | None:
        """The source of those that wait that has least, and of several the one that waits longest; None if nobody may
        have a place.
        """
        allowed = [source for source in self._lines if self._may_have(source)]
        return min(allowed, key=lambda of: (self._pool.of(of), next(iter(self._lines[of].values()))), default=None)

    def _leave_line(self, source: str, turn: asyncio.Future[_Place]) -> None:
        """It waits no more, if it did."""
        line = self._lines.get(source, {})
        line.pop(turn, None)
        if not line:
            self._lines.pop(source, None)

    def _may_have(self, source: str) -> bool:
        return not self._pool.of(source) or self._pool.fits(source, 1)

    def _hand_out(self, source: str) -> _Place:
        place = _Place(source, self._now_s())
        self._pool.take(source, 1)
        self._held[place] = None
        return place

    def _make_room(self) -> None:
        """Take places back for those who wait and have less than others, as far as they have been held long enough."""
        largest = self._pool.largest
        wanted = sum(len(line) for source, line in self._lines.items() if self._pool.of(source) < largest)
        wanted -= sum(place.gave_way.done() for place in self._held)
        for place in list(self._held):
            if wanted <= 0:
                return
            if place.gave_way.done() or self._pool.of(place.source) < largest:
                continue
            young_s = self._patience_s - self._age_s(place)
            if young_s > 0:
                self._look_in(young_s)
                return
            place.gave_way.set_result(None)
            wanted -= 1

    def _look_in(self, seconds: float) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().call_later(seconds, self._make_room)

    def _give_back(self, place: _Place) -> None:
        self._pool.give_back(place.source, 1)
        del self._held[place]
        self._assign()

    def _read(self, place: _Place, read: asyncio.Future[Any]) -> None:
        """It is over, whoever still wanted it."""
        self._give_back(place)
        if not read.cancelled():
            read.exception()  # of a call that is over: nobody asks for it

    def _age_s(self, place: _Place) -> float:
        return self._now_s() - place.since_s

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
