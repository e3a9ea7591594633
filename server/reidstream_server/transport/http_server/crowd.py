"""All connections of the HTTP port: how many there may be, who gives way, what they hold, and how they end.

Why the one that has been idle for longest gives way: the newest may be an honest client's first. Where everybody is
busy, the newest is told to come back.

Traps: thousands of connections may come in a second, so who gives way is known without a look at all of them. And the
watch of the memory asks from a thread of its own. It reads numbers; what changes anything is done on the event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from typing_extensions import override

from reidstream_server.memory.watch import Holder, Receiving

from .connection import HttpConnection
from .terms import Crowd

_MOST_TURNED_AWAY = 64
"""Connections beyond the bound that hear why, at a time. The others are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    peer: str
    bytes: int
    calls: int


class ConnectionCrowd(Crowd, Receiving):
    """`most`: connections. `pay`: for what one has sent that is over. Event loop only, but for what the watch asks."""

    def __init__(self, most: int, pay: Callable[[HttpConnection], None]) -> None:
        self.most = most
        self._pay = pay
        self._open: dict[HttpConnection, None] = {}
        self._idle: dict[HttpConnection, None] = {}  # of these; what has been idle for longest comes first
        self._turned_away: set[HttpConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._open)

    @override
    def came(self, connection: HttpConnection) -> None:
        self._loop = connection.loop
        if len(self._open) >= self.most:
            idle = next(iter(self._idle), None)
            if idle is None:
                self._turn_away(connection)
                return
            del self._open[idle], self._idle[idle]
            idle.cut()
        self._open[connection] = self._idle[connection] = None

    @override
    def works(self, connection: HttpConnection) -> None:
        self._idle.pop(connection, None)

    @override
    def rests(self, connection: HttpConnection) -> None:
        if connection in self._open:
            self._idle[connection] = None

    @override
    def left(self, connection: HttpConnection) -> None:
        self._pay(connection)
        self._open.pop(connection, None)
        self._idle.pop(connection, None)
        self._turned_away.discard(connection)

    def _turn_away(self, connection: HttpConnection) -> None:
        if len(self._turned_away) < _MOST_TURNED_AWAY:
            self._turned_away.add(connection)
            connection.turn_away()
        else:
            connection.cut()

    async def connected(self) -> AbstractSet[str]:
        """The other ends of all of them."""
        return {connection.peer for connection in self._open}

    async def end(self, grace_s: float) -> None:
        """Close what is idle; what is busy has so many seconds to end."""
        for connection in list(self._open):
            connection.leave()
        tasks = {task for one in self._open if (task := one.task) is not None and not task.done()}
        if tasks and grace_s > 0:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in list(self._open):
            connection.cut()

    # What the watch asks. Any thread.

    @override
    def holders(self) -> Sequence[Holder]:
        found = [
            _Holder(peer=one.peer, bytes=one.held_bytes, calls=int(one.busy)) for one in self._open.copy() if one.busy
        ]
        return sorted(found, key=lambda holder: -holder.bytes)

    @override
    def settle(self, *, little: bool) -> None:
        """Nothing: bytes are counted as they come."""

    @override
    def end_calls(self, peer: str, why: str) -> None:
        self._have(peer, lambda connection: connection.end_call(why))

    @override
    def ending(self, peer: str) -> bool:
        return any(one.why and one.busy for one in self._open.copy() if one.peer == peer)

    @override
    def cut(self, peer: str) -> bool:
        return self._have(peer, HttpConnection.cut)

    def _have(self, peer: str, act: Callable[[HttpConnection], None]) -> bool:
        found = [one for one in self._open.copy() if one.peer == peer]
        for connection in found:
            if self._loop is not None:
                with suppress(RuntimeError):  # it is closed, and so are they
                    self._loop.call_soon_threadsafe(act, connection)
        return bool(found)
