"""A client that begins calls and sends a part of their messages, which no library does: a few frames of HTTP/2 by hand.

Trap: it obeys the server's windows, or its connection would be ended for that. So it must go on reading while it sends.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.patience import HANG_S

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW = 4
_PIECE = 16 * 1024


class HalfMessages:
    """One connection. `sent_bytes`: of messages. `over`: how many calls the server has ended; `closed`: it hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection_window = self._initial_window = 65_535
        self._windows: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._left: dict[int, int] = {}
        self._moved = asyncio.Event()
        self.sent_bytes = self.over = 0
        self.closed = False
        self.peer = "ipv4:{}:{}".format(*writer.get_extra_info("sockname")[:2])
        self._write(0, _SETTINGS, 0, b"", preface=_PREFACE)

    def begin(self, method: str, announced_bytes: int, sent_bytes: int, first: bytes = b"") -> None:
        """Begin a call of `/package.Service/Method` whose message is announced and not sent to its end.
        `first`: a whole message before it.
        """
        stream = 2 * (len(self._windows)) + 1
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
        block = b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)
        self._write(stream, _HEADERS, _END_HEADERS, block)
        self._windows[stream] = self._initial_window
        whole = struct.pack(">BI", 0, len(first)) + first if first else b""
        self._heads[stream] = whole + struct.pack(">BI", 0, announced_bytes)
        self._left[stream] = len(self._heads[stream]) + sent_bytes

    async def send(self) -> None:
        """Until everything is sent that is not of a call that is over, or the server has hung up."""
        async with asyncio.timeout(HANG_S):
            while not self.closed and any(self._left.values()):
                self._moved.clear()
                if not self._send_pieces():
                    await self._moved.wait()
                with suppress(ConnectionError):
                    await self._writer.drain()

    async def read(self) -> None:
        """Obey what the server says, until it hangs up."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                body = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._obey(head[3], head[4], int.from_bytes(head[5:], "big"), body)
                self._moved.set()
        self.closed = True
        self._moved.set()

    def _send_pieces(self) -> bool:
        done = False
        for stream, left in tuple(self._left.items()):
            size = min(left, _PIECE, self._windows[stream], self._connection_window)
            if size > 0:
                head = self._heads.pop(stream, b"")
                self._write(stream, _DATA, 0, head + bytes(size - len(head)))
                self._left[stream] -= size
                self._windows[stream] -= size
                self._connection_window -= size
                self.sent_bytes += size
                done = True
        return done

    def _obey(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", body):
                if name == _INITIAL_WINDOW:
                    self._windows = {
                        each: window + value - self._initial_window for each, window in self._windows.items()
                    }
                    self._initial_window = value
            self._write(0, _SETTINGS, _ACK, b"")
        elif kind == _PING and not flags & _ACK:
            self._write(0, _PING, _ACK, body)
        elif kind == _WINDOW:
            more = int.from_bytes(body, "big")
            if stream:
                self._windows[stream] += more
            else:
                self._connection_window += more
        elif kind == _RESET or (kind == _HEADERS and flags & _END_STREAM):
            self.over += stream in self._left
            self._left.pop(stream, None)

    def _write(self, stream: int, kind: int, flags: int, body: bytes, *, preface: bytes = b"") -> None:
        if self._writer.is_closing():
            return
        self._writer.write(
            preface + len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
        )


def _string(text: str) -> bytes:
    """Without compression, shorter than 127 bytes."""
    data = text.encode("ascii")
    return bytes([len(data)]) + data


@asynccontextmanager
async def half_messages(port: int) -> AsyncIterator[HalfMessages]:
    """A connection to a server on this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = HalfMessages(reader, writer)
    reading = asyncio.create_task(connection.read())
    try:
        yield connection
    finally:
        writer.transport.abort()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
