"""All connections of the HTTP port: how many there may be, who gives way, what they hold, and how they end.

Why the oldest idle one gives way: the newest may be an honest client's first. Where everybody is busy, the newest is
told to come back.

Trap: the watch of the memory asks from a thread of its own. It reads numbers; what changes anything is done on the
event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from typing_extensions import override

from reidstream_server.memory.watch import Holder, Receiving

from .connection import Crowd, HttpConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    peer: str
    bytes: int
    calls: int


class ConnectionCrowd(Crowd, Receiving):
    """`most`: connections. Event loop only, but for what the watch asks."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[HttpConnection, None] = {}  # the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._open)

    @override
    def came(self, connection: HttpConnection) -> None:
        self._loop = connection.loop
        if len(self._open) >= self.most:
            idle = next((one for one in self._open if not one.busy), None)
            if idle is None:
                connection.turn_away()
                return
            del self._open[idle]
            idle.cut()
        self._open[connection] = None

    @override
    def left(self, connection: HttpConnection) -> None:
        self._open.pop(connection, None)

    async def connected(self) -> AbstractSet[str]:
        """The other ends of all of them."""
        return {connection.peer for connection in self._open}

    async def end(self, grace_s: float) -> None:
        """Close what is idle; what is busy has so many seconds to end."""
        for connection in list(self._open):
            connection.shutdown()
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
