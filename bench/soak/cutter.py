"""A proxy before the server whose connections can be cut in the middle of a message.

Why: an edge device loses its network at any moment, and neither side can say so to the other. Cancelling a call would
be a message; resetting a connection is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from typing_extensions import Self

_CHUNK = 1 << 16


class Cutter:
    """Listens on a port of its own inside `async with`. For one event loop.

    `let_in`: awaited before each connection is let through, to play a slow network.
    """

    def __init__(self, target: str, let_in: Callable[[], Awaitable[None]] | None = None) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._let_in = let_in
        self._closed = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self.target = ""

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Reset every connection. New ones are let through."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self._closed = True
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was accepted before, and is told so only now
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            if self._let_in is not None:
                await self._let_in()
            there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
            ends.add(there_writer)
            self._writers.add(there_writer)
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the reader ends, then end the writer."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
