"""A server on a real socket that resets calls as HTTP/2 does, with a code and without a word.

Why by hand: a gRPC server says a status with every end. What resets a call is below it: an overwhelmed server, a proxy.
It resets the first calls, each on a connection of its own, and hands later connections on to a real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_PREFACE_BYTES, _HEAD_BYTES = 24, 9
_HEADERS, _RST_STREAM, _SETTINGS, _PING = 1, 3, 4, 6
_ACK = 1


@dataclass(slots=True, eq=False)
class ResettingServer:
    """`resets`: how many calls are still to be reset, with the HTTP/2 error `code`. `seen`: how many were."""

    behind: str
    code: int
    resets: int
    target: str = ""
    seen: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                await (self._reset(reader, writer) if self.resets > self.seen else self._hand_on(reader, writer))
        finally:
            writer.close()

    async def _reset(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(_PREFACE_BYTES)
        writer.write(_frame(_SETTINGS, 0, 0))
        while self.resets > self.seen:
            head = await reader.readexactly(_HEAD_BYTES)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind in {_SETTINGS, _PING} and not flags & _ACK:
                writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            if kind == _HEADERS:
                self.seen += 1
                writer.write(_frame(_RST_STREAM, 0, stream, self.code.to_bytes(4, "big")))
            await writer.drain()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.behind.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            back.close()


@asynccontextmanager
async def resetting(behind: str, *, resets: int, code: int) -> AsyncIterator[ResettingServer]:
    """A running one, in front of the server at `behind`."""
    server = ResettingServer(behind=behind, code=code, resets=resets)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.target = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
