"""HTTP/2 by hand: a client that says what no library would, such as half a message, or that it takes no answer.

Trap: the server's settings and windows are not obeyed, only read over; a test sends less than 64 KiB a call.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW_SIZE = 4


@dataclass(slots=True)
class WireConnection:
    """One connection. `reset`: calls that the server has ended with RST_STREAM; `ended`: with a status.
    `granted`: the windows of a call that it has announced.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    reset: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    granted: list[int] = field(default_factory=list)
    _next: int = 1

    def call(self, method: str, data: bytes = b"", *, half_close: bool = False) -> int:
        """Begin a call and send some bytes of it. Returns its number."""
        number, self._next = self._next, self._next + 2
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "test",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._send(_HEADERS, _END_HEADERS, number, b"".join(map(_literal, headers, headers.values())))
        self._send(_DATA, _END_STREAM if half_close else 0, number, data)
        return number

    def more(self, number: int, data: bytes, *, half_close: bool = False) -> None:
        """More bytes of a call."""
        self._send(_DATA, _END_STREAM if half_close else 0, number, data)

    def leave(self, number: int) -> None:
        """Cancel a call."""
        self._send(_RST_STREAM, 0, number, struct.pack(">I", 8))

    async def listen(self) -> None:
        """Read what the server sends until it closes."""
        while True:
            head = await self.reader.readexactly(9)
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == _RST_STREAM:
                self.reset.add(number)
            elif kind == _HEADERS and flags & _END_STREAM:
                self.ended.add(number)
            elif kind == _SETTINGS and not flags & _ACK:
                settings = dict(struct.iter_unpack(">HI", payload))
                self.granted += [settings[key] for key in settings if key == _INITIAL_WINDOW_SIZE]
                self._send(kind, _ACK, 0, b"")
            elif kind == _PING and not flags & _ACK:
                self._send(kind, _ACK, 0, payload)

    def _send(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big")
        self.writer.write(head + payload)


@asynccontextmanager
async def wire_to(port: int, *, window: int = 65535) -> AsyncIterator[WireConnection]:
    """A connection that grants each call so many bytes of answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = WireConnection(reader, writer)
    writer.write(_PREFACE)
    connection._send(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, window))
    listening = asyncio.create_task(connection.listen())
    try:
        yield connection
    finally:
        listening.cancel()
        writer.close()
        with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await listening
        with suppress(ConnectionError):
            await writer.wait_closed()


def message_of(data: bytes, *, sent: int | None = None) -> bytes:
    """A message as gRPC writes it; only `sent` of its bytes if that is given."""
    return b"\0" + struct.pack(">I", len(data)) + data[:sent]


def _literal(name: str, value: str) -> bytes:
    """A header field without Huffman and without index. Both are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
