"""HTTP/2 by hand: a connection that sends exactly the frames that an attacker wants, and reads as little as it likes.

Why not gRPC's own client: it finishes what it starts, grants windows and copies each message. An attacker does none of
that. Why not a library: the ten frame types fit on a page, and a library refuses what is not allowed.

Trap: what is sent still keeps to the server's windows. Beyond them the server ends the connection, and the attack with
it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final

from typing_extensions import Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL: Final = 8
_INITIAL_WINDOW, _MAX_FRAME = 4, 5  # settings
_DEFAULT_WINDOW: Final = 65_535
_LEAST_FRAME: Final = 16_384
_AT_ONCE: Final = 512 * 1024
_WIDE: Final = 2**31 - 1

PREFIX_BYTES: Final = 5
"""Of a gRPC message: whether it is compressed, and its length."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(path: str, extra: Mapping[str, str] = {}) -> bytes:
    """The headers of a gRPC call, as HPACK literals that no table remembers: the same bytes fit any stream."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(_literal(name) + _literal(value, b"") for name, value in {**fields, **extra}.items())


def prefix(length: int, *, compressed: bool = False) -> bytes:
    """What stands before a gRPC message of `length` bytes."""
    return struct.pack(">BI", compressed, length)


def _literal(text: str, mark: bytes = b"\0") -> bytes:
    data = text.encode()
    return mark + bytes([len(data)]) + data  # below 127 bytes


class Stream:
    """What the server allowed and said on one stream."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.received = 0
        self.over = False
        """Ended or reset by the server, or the connection is gone."""


class Http2:
    """One connection, in an `async with` block. `grants`: the window for each stream's answers; 0 takes none. `renews`:
    what has come is granted again; without it, answers stop when the window is full.

    Everything that waits gives up with ConnectionError when the server has ended the connection.
    """

    def __init__(self, host: str, port: int, *, grants: int = _DEFAULT_WINDOW, renews: bool = True) -> None:
        self._address = (host, port)
        self._grants = grants
        self._renews = renews
        self._window = _DEFAULT_WINDOW
        self._stream_window = _DEFAULT_WINDOW
        self._frame_bytes = _LEAST_FRAME
        self._next = 1
        self._streams: dict[int, Stream] = {}
        self._room = asyncio.Event()
        self.over = False
        self.seen: defaultdict[str, int] = defaultdict(int)
        """What the server has sent, by kind."""
        self.on_data: Callable[[int, int], None] | None = None
        """Told of each DATA frame: its stream, and its bytes."""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        settings = struct.pack(">HIHI", _INITIAL_WINDOW, self._grants, _MAX_FRAME, _LEAST_FRAME)
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
        if self._grants:
            self._writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", _WIDE - _DEFAULT_WINDOW)))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        self._writer.transport.abort()

    async def call(self, path: str, extra: Mapping[str, str] = {}, *, end: bool = False) -> int:
        """Open a stream with the headers of a call; returns its number."""
        self._check()
        number, self._next = self._next, self._next + 2
        self._streams[number] = Stream(self._stream_window)
        flags = END_HEADERS | (END_STREAM if end else 0)
        self._writer.write(frame(HEADERS, flags, number, header_block(path, extra)))
        await self._writer.drain()
        return number

    async def data(self, number: int, content: bytes | memoryview, *, end: bool = False) -> None:
        """Send on a stream, as its window and the connection's allow. Raises ConnectionError if the stream is over."""
        stream, view = self._streams[number], memoryview(content)
        while view or end:
            room = min(len(view), _AT_ONCE, stream.window, self._window)
            if view and room <= 0:
                self._room.clear()
                self._check(stream)
                await self._room.wait()
                continue
            self._check(stream)
            stream.window -= room
            self._window -= room
            last = end and room == len(view)
            self._writer.write(b"".join(self._cut(number, view[:room], END_STREAM if last else 0)))
            await self._writer.drain()
            view = view[room:]
            if last:
                return

    def _cut(self, number: int, view: memoryview, flags: int) -> Iterator[bytes]:
        """DATA frames as large as the server takes them."""
        most = self._frame_bytes
        for at in range(0, max(1, len(view)), most):
            part = view[at : at + most]
            yield frame(DATA, flags if at + most >= len(view) else 0, number, bytes(part))

    async def raw(self, content: bytes) -> None:
        """Send bytes as they are."""
        self._check()
        self._writer.write(content)
        await self._writer.drain()

    async def ended(self, number: int) -> None:
        """Return when the server has ended a stream, or the connection."""
        while not self._streams[number].over:
            self._room.clear()
            await self._room.wait()

    def is_over(self, number: int) -> bool:
        """Whether the server has ended a stream."""
        return self._streams[number].over

    def forget(self, number: int) -> None:
        """Remember no more of a stream that is over."""
        self._streams.pop(number, None)

    def _check(self, stream: Stream | None = None) -> None:
        self.over |= self._writer.is_closing()  # asyncio would only warn of what is written then
        if self.over:
            raise ConnectionError("the server has ended the connection")
        if stream is not None and stream.over:
            raise ConnectionError("the server has ended the stream")

    async def _read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                length, kind, flags, number = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:9])
                self._take(kind, flags, number, await self._reader.readexactly(length))
        self.over = True
        for stream in self._streams.values():
            stream.over = True
        self._room.set()

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            amount = int.from_bytes(payload)
            if stream is not None:
                stream.window += amount
            elif number == 0:
                self._window += amount
            self._room.set()
        elif kind == GOAWAY:
            self.seen[f"goaway {int.from_bytes(payload[4:8])}: {payload[8:].decode(errors='replace')}"] += 1
        elif kind == RST_STREAM:
            self.seen[f"reset {int.from_bytes(payload)}"] += 1
        elif kind == DATA:
            self._answer(number, len(payload))
        if stream is not None and (kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM)):
            self.seen["streams ended"] += 1
            stream.over = True
            self._room.set()

    def _answer(self, number: int, length: int) -> None:
        self.seen["bytes answered"] += length
        if self.on_data is not None:
            self.on_data(number, length)
        if self._grants and self._renews and length:
            more = struct.pack(">I", length)
            self._writer.write(frame(WINDOW_UPDATE, 0, number, more) + frame(WINDOW_UPDATE, 0, 0, more))

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif name == _MAX_FRAME:
                self._frame_bytes = value
        self._writer.write(frame(SETTINGS, ACK, 0))
        self._room.set()
