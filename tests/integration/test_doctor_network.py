"""`doctor` where the way to the server is broken: it names that fault, and no other as wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from tests.support.doctoring import SHORT_S, answering, diagnose, saying, silent, web
from tests.support.harness import serving

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REFUSING = "127.0.0.1:1"


async def test_a_name_without_an_address() -> None:
    """`.invalid` is nobody's, for ever."""
    found = await diagnose("no-such-host.invalid:50051", timeout_s="5")
    assert found.wrong == {"name"}
    assert found.status == 1
    assert "no-such-host.invalid has no address" in found.said("name")


async def test_a_port_at_which_nobody_listens() -> None:
    """The host says so at once."""
    found = await diagnose(REFUSING)
    assert found.wrong == {"port"}
    assert "refuses connections" in found.said("port")
    assert "start reidstream-server" in found.said("port")


@pytest.fixture
def filtered() -> Iterator[int]:
    """A port that drops what comes: its queue of connections is full, and nobody takes them out."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(16):
            filling = stack.enter_context(socket.socket())
            filling.settimeout(0.5)
            try:
                filling.connect(server.getsockname())
            except TimeoutError:
                break
        else:
            pytest.fail("the queue is never full")
        yield server.getsockname()[1]


async def test_a_port_that_drops_packets_is_told_from_one_that_refuses(filtered: int) -> None:
    """A firewall, most likely."""
    found = await diagnose(f"127.0.0.1:{filtered}", timeout_s=SHORT_S)
    assert found.wrong == {"port"}
    assert "has not answered within 2 s" in found.said("port")
    assert "firewalls" in found.said("port")


async def test_a_web_server() -> None:
    """It is no gRPC, whatever it says."""
    async with answering(web("<html>hello</html>", "400 Bad Request")) as port:
        found = await diagnose(f"127.0.0.1:{port}")
    assert found.wrong == {"protocol"}
    assert "A web server answers there (HTTP/1.1 400 Bad Request)" in found.said("protocol")


async def test_the_port_of_metrics() -> None:
    """A usual mistake: both ports are reidstream's."""
    async with serving(metrics_enabled=True) as server:
        found = await diagnose(f"127.0.0.1:{server.metrics_port}")
    assert found.wrong == {"protocol"}
    assert "This is reidstream's port of metrics and probes. Give the port of gRPC" in found.said("protocol")


@pytest.mark.parametrize("tls", [(), ("--tls-server-name", "gate")], ids=["plain", "TLS"])
async def test_a_peer_that_takes_connections_and_says_nothing(tls: tuple[str, ...]) -> None:
    """Nothing hangs: the look ends with its time."""
    async with answering(silent) as port:
        found = await diagnose(f"127.0.0.1:{port}", *tls, timeout_s=SHORT_S)
    assert found.wrong == {"protocol"}
    assert "within 2 s" in found.said("protocol")


async def test_a_peer_that_closes_at_once() -> None:
    """As a load balancer without a server behind it."""
    async with answering(saying(b"")) as port:
        found = await diagnose(f"127.0.0.1:{port}")
    assert found.wrong == {"protocol"}
    assert "closes them without a word" in found.said("protocol")


async def test_another_protocol() -> None:
    """Its first words are shown, and cannot command the terminal."""
    async with answering(saying(b"SSH-2.0-\x1b[31mOpenSSH\r\n")) as port:
        found = await diagnose(f"127.0.0.1:{port}")
    assert found.wrong == {"protocol"}
    assert r"SSH-2.0-\x1b[31mOpenSSH" in found.said("protocol")


async def test_a_grpc_server_of_somebody_else() -> None:
    """It speaks gRPC, and has none of our methods."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = await diagnose(f"127.0.0.1:{port}")
    await server.stop(None)
    assert found.wrong == {"protocol"}
    assert "no service reidstream.v1.EmbeddingService" in found.said("protocol")


async def test_a_server_that_speaks_http2_and_answers_no_call() -> None:
    """As one that is frozen: its kernel and its first thread go on."""

    async def freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        await silent(reader, writer)

    async with answering(freeze) as port:
        found = await diagnose(f"127.0.0.1:{port}", timeout_s=SHORT_S)
    assert found.wrong == {"health"}
    assert found.findings["protocol"]["verdict"] == "not_looked_at" or "gRPC" in found.said("protocol")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_a_proxy_of_the_environment_that_fails(no_proxies: pytest.MonkeyPatch) -> None:
    """GRPC obeys it without a word. The server itself is well, and can be reached without it."""
    no_proxies.setenv("http_proxy", f"http://me:sesame@{REFUSING}")
    async with serving() as server:
        found = await diagnose(f"0.0.0.0:{server.port}")  # this machine, and no loopback for gRPC
    assert found.wrong == {"proxy"}
    assert "The environment's http_proxy names a proxy" in found.said("proxy")
    assert "Without it, the port can be reached" in found.said("proxy")
    assert "add the server's host to no_proxy" in found.said("proxy").lower()
    assert "sesame" not in str(found)


async def test_a_proxy_of_the_environment_that_works_is_a_warning(no_proxies: pytest.MonkeyPatch) -> None:
    """Everything is answered through it."""
    async with serving() as server, answering(_tunnel) as proxy:
        no_proxies.setenv("grpc_proxy", f"http://127.0.0.1:{proxy}")
        found = await diagnose(f"0.0.0.0:{server.port}")
    assert (found.wrong, found.warnings) == (set(), {"proxy"})
    assert "grpc_proxy" in found.said("proxy")


async def test_a_server_that_only_the_proxy_reaches_is_no_fault(no_proxies: pytest.MonkeyPatch) -> None:
    """The port is closed for this machine, and gRPC never asks it."""
    async with serving() as server:

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await _through(server.port, reader, writer)

        async with answering(tunnel) as proxy:
            no_proxies.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
            found = await diagnose("0.0.0.0:1")
    assert (found.wrong, found.warnings) == (set(), {"proxy"})
    assert found.findings["port"]["verdict"] == "not_looked_at"
    assert "Beside the proxy: 0.0.0.0 port 1 refuses connections" in found.said("port")


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a proxy does for CONNECT."""
    head = await reader.readuntil(b"\r\n\r\n")
    await _through(int(head.split()[1].rpartition(b":")[2]), reader, writer)


async def _through(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    beyond, onward = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(_pass_on(reader, onward), _pass_on(beyond, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
