"""Callers of the operators' port that keep to no rule. It has no authentication, and is in the process that serves."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from .target import Target, again, together

_SCRAPE: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
_CHUNK: Final = 2**16
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Kind = Callable[[Target, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]
"""What one does with its connection; returns what became of it. It may end with OSError."""


async def hostile_scrapers(target: Target, *, count: int = 100, crowd: int = 1000) -> None:
    """A hundred callers of the metrics' port who read slowly, send half a request, headers, a request line, a body or
    requests without end, one byte at a time, or nothing, or reset their connection midway; beside them, again and
    again, 1000 connections at once.

    Aims at: what a caller may cost a port without authentication that is in the process that serves.
    """

    async def one(number: int) -> None:
        kind = KINDS[number % len(KINDS)]

        async def attempt() -> None:
            reader, writer = await _connect(target)
            try:
                target.became[await kind(target, reader, writer)] += 1
            finally:
                writer.transport.abort()

        await again(target, attempt)

    async def attempt_together() -> None:
        lines: list[asyncio.StreamWriter] = []

        async def connect() -> None:
            with suppress(OSError):
                lines.append((await _connect(target))[1])

        try:
            await asyncio.gather(*(connect() for _ in range(crowd)))
            target.became["connections at once"] += 1
            await asyncio.sleep(1.0)
        finally:
            for line in lines:
                line.transport.abort()

    await together(count + 1, lambda number: one(number) if number < count else again(target, attempt_together))


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # it takes as little as it can
    line.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(line, (target.host, target.metrics_port))
        return await asyncio.open_connection(sock=line, limit=1)
    except BaseException:
        line.close()
        raise


async def _reads_slowly(_: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(_SCRAPE)
    while await reader.read(1):  # noqa: ASYNC110 - slowness is the point
        await asyncio.sleep(0.5)
    return "a slow reader was ended"


async def _half(_: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(b"GET /metrics HTTP/1.1\r\nHost:")
    await reader.read()
    return "half a request was ended"


async def _nothing(_: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    del writer
    await reader.read()
    return "a silent connection was ended"


async def _byte_by_byte(_: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in _SCRAPE[:-2] + b"X: " + 4000 * b"x":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    await reader.read()
    return "a request of single bytes was ended"


async def _resets(_: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(_SCRAPE)
    await reader.read(1)
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return "a connection was reset midway"


def _without_end(begin: bytes, part: bytes, became: str) -> Kind:
    """Sends a part again and again, and reads nothing, until it is ended."""
    chunk = part * (_CHUNK // len(part))

    async def send(target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        del reader
        writer.write(begin)
        try:
            while True:
                writer.write(chunk)
                await writer.drain()
                target.became["64 KiB more were sent"] += 1
        except OSError:
            return became

    return send


KINDS: Final[Sequence[Kind]] = (
    _reads_slowly,
    _half,
    _nothing,
    _byte_by_byte,
    _resets,
    _without_end(b"GET /metrics HTTP/1.1\r\n", b"X-Header: one more\r\n", "endless headers were ended"),
    _without_end(b"GET /metrics?", b"a", "an endless request line was ended"),
    _without_end(b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", b"x", "an endless body was ended"),
    _without_end(b"", _SCRAPE, "requests without end were ended"),
    _without_end(_SCRAPE, b"\x00", "an endless end was ended"),
)
