"""HTTP by hand: a client that says what no library would, such as half a head, or a body that never ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from reidstream_server.app import RunningServer
from reidstream_server.transport.http_server.server import HttpServer
from tests.support.harness import serving

BOUNDARY = "XboundaryX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Of a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem["status"] == self.status
        return str(problem["detail"])


@dataclass(frozen=True, slots=True)
class RawHttp:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        """Write, without waiting."""
        self.writer.write(data)

    async def answer(self, *, body: bool = True) -> Answer:
        """The next response, with a length."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        data = await self.reader.readexactly(int(headers["content-length"])) if body else b""
        return Answer(status=int(head[0].split()[1]), headers=headers, body=data)

    async def ask(self, method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request and its response."""
        self.send(request(method, path, data, headers))
        return await self.answer(body=method != "HEAD")

    async def closed(self) -> None:
        """Return when the server has closed, whatever it says before."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


def request(method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    lines = {"Host": "test"} | ({"Content-Length": str(len(data))} if data else {}) | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def form(*files: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A multipart form and its headers."""
    parts = [(f'name="file"; filename="{index}.png"', data) for index, data in enumerate(files)]
    parts += [(f'name="{name}"', text.encode()) for name, text in fields.items()]
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + data + b"\r\n"
        for about, data in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@asynccontextmanager
async def http_to(server: RunningServer, *, address: str = "127.0.0.1") -> AsyncIterator[RawHttp]:
    """A connection to its HTTP door, from an address of this machine."""
    assert server.http_port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port, local_addr=(address, 0))
    try:
        yield RawHttp(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def http_serving(*engines: Any, **changes: object) -> AsyncIterator[RunningServer]:
    """`serving`, with an HTTP door."""
    async with serving(*engines, http_port=0, **changes) as server:
        yield server


def door_of(server: RunningServer) -> HttpServer:
    """Its HTTP door."""
    (door,) = (one for one in server.doors if isinstance(one, HttpServer))
    return door
