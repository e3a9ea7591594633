"""A port that leads to one of several servers, as a load balancer does: connections go where it points now.

Why: a client knows one address. What it does when another server stands behind that address is what these tests ask.
Trap: whoever is connected stays where he is until that server, or `cut`, ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Switch:
    """One event loop. `port`: its own. `to`: the port that the next connections go to."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End every connection, without a word."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has come."""
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.wait(
            [asyncio.ensure_future(self._copy(reader, back)), asyncio.ensure_future(self._copy(there, writer))]
        )
        self._writers -= {writer, back}

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def switch(to: int) -> AsyncIterator[Switch]:
    """One that leads to `to` at first."""
    made = Switch(to)
    server = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
