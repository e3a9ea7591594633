"""All connections of the HTTP port: how many there may be, who gives way, and how they end.

Why the oldest idle one gives way: the newest may be an honest client's first. Where everybody is busy, the newest is
told to come back.
"""

from __future__ import annotations

import asyncio

from typing_extensions import override

from .connection import Crowd, HttpConnection

MAX_CONNECTIONS = 512


class ConnectionCrowd(Crowd):
    """Event loop only."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self.most = most
        self._open: dict[HttpConnection, None] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._open)

    @override
    def came(self, connection: HttpConnection) -> None:
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

    async def end(self, grace_s: float) -> None:
        """Close what is idle; what is busy has so many seconds to end."""
        for connection in list(self._open):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + grace_s
        tasks = {task for one in self._open if (task := one.task) is not None and not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        for connection in list(self._open):
            connection.cut()
