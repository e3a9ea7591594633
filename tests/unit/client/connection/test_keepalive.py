"""Pings on an idle stream: they go on, and the server does not take them for abuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reidstream_client import AsyncReidClient
from reidstream_client.connection.grpc_connection import GrpcConnection
from tests.unit.client.samples import BOX
from tests.unit.client.scripted_server import ScriptedServer

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADER = 9
_PING, _GOAWAY, _ACK = 6, 7, 1


class Relay:
    """Passes bytes between a client and a server, and counts the HTTP/2 frames of both that concern pings."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self.target = ""
        self.pings = 0
        self.goaways = 0
        self.changed = asyncio.Condition()
        self._ends: list[asyncio.StreamWriter] = []
        self._connections: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            for end in self._ends:  # none may be open when the loop is closed
                end.close()
            await asyncio.gather(*(end.wait_closed() for end in self._ends), return_exceptions=True)

    async def pinged(self, times: int) -> None:
        """Wait for so many more pings of the client."""
        async with self.changed:
            least = self.pings + times
            await self.changed.wait_for(lambda: self.pings >= least)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.append(connection)
        self._ends.append(writer)
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._ends.append(far_writer)
        far_writer.write(await reader.readexactly(_PREFACE))
        await asyncio.gather(
            self._pass_on(reader, far_writer, of_client=True), self._pass_on(far_reader, writer, of_client=False)
        )

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, of_client: bool) -> None:
        try:
            while True:
                header = await reader.readexactly(_HEADER)
                body = await reader.readexactly(int.from_bytes(header[:3], "big"))
                async with self.changed:
                    self.pings += of_client and header[3] == _PING and not header[4] & _ACK
                    self.goaways += not of_client and header[3] == _GOAWAY
                    self.changed.notify_all()
                writer.write(header + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def test_an_idle_stream_is_pinged_and_stays_open() -> None:
    """More often than gRPC would by itself, which stops after two pings without data; then a frame is answered."""
    often = [("grpc.http2.min_ping_interval_without_data_ms", 1)]

    def connect(target: str) -> GrpcConnection:
        return GrpcConnection(target, max_message_bytes=1 << 20, keepalive_s=0.02)

    async with ScriptedServer().running(often) as server, Relay(server.target).running() as relay:
        async with AsyncReidClient(relay.target, connect=connect) as client, client.stream() as session:
            await session.send(b"x", BOX)
            assert (await anext(session)).frame_id == 0
            await relay.pinged(3)
            await session.send(b"x", BOX)
            assert (await anext(session)).frame_id == 1
        assert relay.goaways == 0
    assert len(server.streams) == 1


async def test_a_server_that_allows_no_pings_ends_the_connection() -> None:
    """What the least interval is for: the relay sees the GOAWAY that the other test must not see."""

    def connect(target: str) -> GrpcConnection:
        return GrpcConnection(target, max_message_bytes=1 << 20, keepalive_s=0.02)

    async with (
        ScriptedServer().running() as server,
        Relay(server.target).running() as relay,
        AsyncReidClient(relay.target, connect=connect) as client,
        client.stream(),
        relay.changed,
    ):
        await relay.changed.wait_for(lambda: relay.goaways > 0)


@pytest.mark.parametrize(
    ("keepalive_s", "expected"),
    [
        (30.0, {"grpc.keepalive_time_ms": 30_000, "grpc.http2.max_pings_without_data": 0}),
        (12.5, {"grpc.keepalive_time_ms": 12_500, "grpc.keepalive_permit_without_calls": 0}),
        (None, {}),
    ],
)
def test_the_channel_is_told(keepalive_s: float | None, expected: dict[str, int]) -> None:
    """Pings any number of times, but only while a call is open."""
    options = dict(GrpcConnection("localhost:1", max_message_bytes=1, keepalive_s=keepalive_s)._options)
    pings = {name: value for name, value in options.items() if "ping" in name or "keepalive" in name}
    assert pings.items() >= expected.items()
    assert bool(pings) == bool(expected)


def test_a_client_pings_every_half_minute() -> None:
    """Often enough for the routers that forget an idle connection after a minute."""
    options = AsyncReidClient("localhost:1")._connection._options  # type: ignore[attr-defined]
    assert dict(options)["grpc.keepalive_time_ms"] == 30_000
