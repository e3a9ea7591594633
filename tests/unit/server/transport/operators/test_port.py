"""The operators' port: probes, metrics, and whatever else reaches it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from wsgiref.types import StartResponse

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_server.app import RunningServer, operators_port, running_server
from reidstream_server.errors import StartupError
from reidstream_server.loading import Engines
from reidstream_server.transport.operators import port as ports
from reidstream_server.transport.operators.health import Health
from reidstream_server.transport.operators.port import OperatorsPort
from tests.support.gate import Gate
from tests.support.harness import frame, serving, settings, stream_to, until
from tests.support.patience import HANG_S, wait_until


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    body: str
    headers: dict[str, str]


def ask(number: int | None, path: str, method: str = "GET", **headers: str) -> Told:
    assert number is not None
    with closing(http.client.HTTPConnection("127.0.0.1", number, timeout=HANG_S)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return Told(answer.status, body, {name.lower(): value for name, value in answer.getheaders()})


async def probes(server: RunningServer) -> dict[str, Told]:
    return {path: await asyncio.to_thread(ask, server.metrics_port, path) for path in ("/healthz", "/readyz")}


@contextmanager
def opened(**options: float) -> Iterator[OperatorsPort]:
    with OperatorsPort("127.0.0.1", 0, health=Health(), **options) as port:
        yield port


def raw(port: OperatorsPort, sent: bytes) -> bytes:
    """All that comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", port.number), timeout=HANG_S) as line:
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(ConnectionError):
            while part := line.recv(65536):
                received += part
        return received


# What probes are told.


def test_before_the_models_are_loaded_the_process_is_alive_and_not_ready() -> None:
    """It needs no restart, however long that takes, and no frames."""
    with opened() as port:
        assert ask(port.number, "/healthz").status == 200
        for path in ("/readyz", "/metrics"):
            told = ask(port.number, path)
            assert (told.status, told.body) == (503, "the models are loading\n")


async def test_a_server_that_serves_is_alive_and_ready() -> None:
    """And says so in a word."""
    async with serving(metrics_enabled=True) as server:
        told = await probes(server)
    assert {path: (item.status, item.body) for path, item in told.items()} == {
        "/healthz": (200, "ok\n"),
        "/readyz": (200, "ok\n"),
    }


async def test_a_server_that_leaves_is_alive_and_not_ready() -> None:
    """It answers what it accepted, and a load balancer should send nothing more."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine, metrics_enabled=True) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        draining = asyncio.create_task(server.drain())
        await until(lambda: server.runtime.leaving)
        told = await probes(server)
        gate.opened.set()
        await draining
        after = await probes(server)
    assert [(item.status, item.body) for item in told.values()] == [
        (200, "the server is leaving\n"),
        (503, "the server is leaving\n"),
    ]
    assert [(item.status, item.body) for item in after.values()] == [
        (200, "the server has stopped\n"),
        (503, "the server has stopped\n"),
    ]


async def test_a_server_with_a_lost_engine_is_neither() -> None:
    """Whoever watches it may restart it at once."""
    async with serving(metrics_enabled=True) as server:
        server.runtime.engine_died.set_result("stripes: gone")
        told = await probes(server)
    assert [(item.status, item.body) for item in told.values()] == [(503, "an engine is lost: stripes: gone\n")] * 2


async def test_an_event_loop_that_stands_still_is_told() -> None:
    """The port has a thread of its own, so it can say so."""
    config = settings(metrics_enabled=True)
    told: list[Told] = []
    with OperatorsPort("127.0.0.1", 0, health=Health(patience_s=0.01)) as port:
        async with running_server(config, Engines(engines=(FakeEngine(),), stager=FakeStager()), port):
            asker = threading.Thread(target=lambda: told.append(ask(port.number, "/healthz")))
            asker.start()
            asker.join()  # which is what the loop hangs in
    assert [(item.status, item.body) for item in told] == [(503, "the event loop has not turned for 0.01 s\n")]


# HTTP.


def test_head_is_get_without_the_body() -> None:
    """With its length."""
    with opened() as port:
        got, head = ask(port.number, "/healthz"), ask(port.number, "/healthz", "HEAD")
    assert (head.status, head.body) == (200, "")
    assert head.headers == got.headers
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("path", ["/", "/health", "/metrics/", "/healthz/x", "//metrics"])
def test_any_other_path_is_not_found(path: str) -> None:
    """With the paths that are."""
    with opened() as port:
        told = ask(port.number, path)
    assert (told.status, told.body) == (404, "this port has /metrics, /healthz and /readyz\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405 Method Not Allowed"),
        (b"GET /healthz HTTP/2.0\r\n\r\n", b"400 Bad Request"),
        (b"GET http://x/healthz HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400 Bad Request"),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
        (b"GET /healthz HTTP/1.0\r\nno colon\r\n\r\n", b"200 OK"),
        (b"GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /healthz HTTP/1.1\r\nHost:", b""),
        (b"", b""),
    ],
)
def test_whatever_comes_is_answered_or_left_alone(sent: bytes, status: bytes) -> None:
    """And the next caller is served."""
    with opened() as port:
        received = raw(port, sent)
        assert received.split(b"\r\n")[0] == (b"HTTP/1.1 " + status if status else b"")
        assert ask(port.number, "/healthz").status == 200


def test_a_caller_that_says_nothing_has_its_time() -> None:
    """Then its connection ends, and a probe comes through meanwhile."""
    with opened(request_s=0.05) as port, socket.create_connection(("127.0.0.1", port.number)) as silent:
        silent.sendall(b"GET /healthz HTTP/1.1\r\n")
        silent.settimeout(HANG_S)
        with suppress(ConnectionResetError):
            assert silent.recv(100) == b""
    with opened() as port, socket.create_connection(("127.0.0.1", port.number)):
        assert ask(port.number, "/healthz").status == 200


def test_a_probe_comes_through_whoever_holds_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many, the one that has had the most time goes."""
    monkeypatch.setattr(ports, "MAX_CONNECTIONS", 3)
    with opened() as port:
        held = [socket.create_connection(("127.0.0.1", port.number), timeout=HANG_S) for _ in range(3)]
        wait_until(lambda: len(port._connections) == 3)
        assert ask(port.number, "/healthz").status == 200
        with suppress(ConnectionResetError):
            assert held[0].recv(1) == b""
        for line in held:
            line.close()


# Metrics.


class Counting:
    """A WSGI application that counts its calls, and may wait for a gate."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.calls: list[str] = []

    def __call__(self, environ: dict[str, str], start: StartResponse) -> Sequence[bytes]:
        self.calls.append(environ["QUERY_STRING"])
        if not self.gate.wait(HANG_S):
            raise AssertionError("nobody opened the gate")
        start("200 OK", [("Content-Type", "text/x")])
        return [b"page ", str(len(self.calls)).encode()]


def test_scrapes_at_the_same_time_share_a_page() -> None:
    """Three hundred at once cost one, and take one thread."""
    application = Counting(threading.Event())
    others = threading.active_count()
    with opened() as port, ThreadPoolExecutor(300) as callers:
        port.show_metrics(application)
        told = [callers.submit(ask, port.number, "/metrics") for _ in range(300)]
        wait_until(lambda: len(port._connections) == 300)
        threads = threading.active_count() - others
        application.gate.set()
        assert threads <= 300 + 3
        pages = [item.result() for item in told]
        assert [page.status for page in pages] == [200] * 300
        assert {page.headers["content-type"] for page in pages} == {"text/x"}
        assert len(application.calls) < 10
        assert ask(port.number, "/metrics?name[]=a").body == f"page {len(application.calls)}"
    assert application.calls[-1] == "name[]=a"


def test_a_probe_does_not_wait_for_a_scrape() -> None:
    """Which may wait for the server's event loop."""
    application = Counting(threading.Event())
    with opened() as port, ThreadPoolExecutor(1) as caller:
        port.show_metrics(application)
        scrape = caller.submit(ask, port.number, "/metrics")
        wait_until(lambda: application.calls)
        assert ask(port.number, "/healthz").status == 200
        application.gate.set()
        assert scrape.result().status == 200


def test_a_page_that_fails_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller does not see why."""

    def fails(_: object, __: object) -> Sequence[bytes]:
        raise RuntimeError("secret")

    with opened() as port:
        port.show_metrics(fails)
        told = ask(port.number, "/metrics")
    assert (told.status, "secret" in told.body) == (500, False)
    assert [record.msg for record in caplog.records] == ["page_failed"]


async def test_a_scraper_gets_the_form_that_it_reads() -> None:
    """Plain or OpenMetrics, compressed if it may be."""
    async with serving(metrics_enabled=True) as server:
        plain = await asyncio.to_thread(ask, server.metrics_port, "/metrics")
        wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
        other = await asyncio.to_thread(ask, server.metrics_port, "/metrics", "GET", **wanted)
        zipped = {"accept-encoding": "gzip"}
        small = await asyncio.to_thread(ask, server.metrics_port, "/metrics", "HEAD", **zipped)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert other.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert other.body.endswith("# EOF\n")
    assert (small.headers["content-encoding"], small.body) == ("gzip", "")
    assert int(small.headers["content-length"]) < len(plain.body) / 2


# The port.


def test_a_port_that_is_taken_is_refused() -> None:
    """With the flags that help; and the one that was taken goes on."""
    with opened() as port:
        with pytest.raises(StartupError, match=f"127.0.0.1:{port.number} for metrics and probes: the port is in use"):
            OperatorsPort("127.0.0.1", port.number, health=Health())
        assert ask(port.number, "/healthz").status == 200


def test_nothing_is_left_of_a_port_that_is_closed() -> None:
    """No thread, and the number is free again; connections that were open are over."""
    threads = threading.active_count()
    with opened() as port:
        line = socket.create_connection(("127.0.0.1", port.number), timeout=HANG_S)
        wait_until(lambda: port._connections)
    assert threading.active_count() == threads
    with suppress(ConnectionResetError):
        assert line.recv(1) == b""
    line.close()
    with OperatorsPort("127.0.0.1", port.number, health=Health()):
        pass


def test_without_metrics_there_is_no_port() -> None:
    """And so no probes."""
    with operators_port(settings(metrics_enabled=False)) as port:
        assert port is None
