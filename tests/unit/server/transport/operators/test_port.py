"""The operators' port: probes, metrics, and whatever else reaches it."""

from __future__ import annotations

import asyncio
import http.client
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_server.app import RunningServer, operators_port, running_server
from reidstream_server.errors import StartupError
from reidstream_server.loading import Engines
from reidstream_server.memory.process import private_bytes
from reidstream_server.transport.operators import port as ports
from reidstream_server.transport.operators import scrapes
from reidstream_server.transport.operators.health import Health
from reidstream_server.transport.operators.http import Request
from reidstream_server.transport.operators.port import OperatorsPort
from reidstream_server.transport.operators.resting import MOST_S, RESTS, RestingSelector
from reidstream_server.transport.operators.scrapes import Form, Scrapes
from tests.support.gate import Gate
from tests.support.harness import frame, serving, settings, stream_to, until
from tests.support.patience import HANG_S, wait_until

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
"""What Prometheus 3 asks for."""


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
    """A page that counts how often it is made, and may wait for a gate."""

    def __init__(self, *, opened: bool = False) -> None:
        self.gate = threading.Event()
        self.calls = 0
        if opened:
            self.gate.set()

    def __call__(self) -> bytes:
        self.calls += 1
        if not self.gate.wait(HANG_S):
            raise AssertionError("nobody opened the gate")
        return f"page {self.calls}".encode()

    @property
    def forms(self) -> list[Form]:
        return [Form(content_type="text/x", write=self)]


def test_scrapes_at_the_same_time_share_a_page() -> None:
    """Three hundred at once cost two, the one that has begun and the next, and take one thread."""
    counting = Counting()
    others = threading.active_count()
    with opened() as port, ThreadPoolExecutor(300) as callers:
        port.show_metrics(counting.forms)
        told = [callers.submit(ask, port.number, "/metrics") for _ in range(300)]
        wait_until(lambda: len(port._connections) == 300)
        threads = threading.active_count() - others
        counting.gate.set()
        assert threads <= 300 + 3
        pages = [item.result() for item in told]
        assert [page.status for page in pages] == [200] * 300
        assert {page.headers["content-type"] for page in pages} == {"text/x"}
        assert counting.calls < 10
        assert ask(port.number, "/metrics?name[]=a").body == f"page {counting.calls}"


def test_a_page_is_not_older_than_its_request() -> None:
    """Whoever asks while one is made gets the next one."""
    counting = Counting()
    with opened() as port, ThreadPoolExecutor(2) as callers:
        port.show_metrics(counting.forms)
        first = callers.submit(ask, port.number, "/metrics")
        wait_until(lambda: counting.calls)
        second = callers.submit(ask, port.number, "/metrics")
        wait_until(lambda: len(port._connections) == 2)
        counting.gate.set()
        assert [first.result().body, second.result().body] == ["page 1", "page 2"]


def test_a_probe_does_not_wait_for_a_scrape() -> None:
    """Which may wait for the server's event loop."""
    counting = Counting()
    with opened() as port, ThreadPoolExecutor(1) as caller:
        port.show_metrics(counting.forms)
        scrape = caller.submit(ask, port.number, "/metrics")
        wait_until(lambda: counting.calls)
        assert ask(port.number, "/healthz").status == 200
        counting.gate.set()
        assert scrape.result().status == 200


def test_a_page_that_fails_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller does not see why."""

    def fails() -> bytes:
        raise RuntimeError("secret")

    with opened() as port:
        port.show_metrics([Form(content_type="text/x", write=fails)])
        told = ask(port.number, "/metrics")
    assert (told.status, "secret" in told.body) == (500, False)
    assert [record.msg for record in caplog.records] == ["page_failed"]


async def test_a_scraper_gets_the_form_that_it_reads() -> None:
    """Plain or OpenMetrics, compressed if it may be."""
    async with serving(metrics_enabled=True) as server:
        plain = await asyncio.to_thread(ask, server.metrics_port, "/metrics")
        wanted = {"accept": PROMETHEUS_3}
        other = await asyncio.to_thread(ask, server.metrics_port, "/metrics", "GET", **wanted)
        zipped = {"accept-encoding": "gzip"}
        small = await asyncio.to_thread(ask, server.metrics_port, "/metrics", "HEAD", **zipped)
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert other.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert {plain.headers["vary"], other.headers["vary"]} == {"Accept, Accept-Encoding"}
    assert other.body.endswith("# EOF\n")
    assert (small.headers["content-encoding"], small.body) == ("gzip", "")
    assert int(small.headers["content-length"]) < len(plain.body) / 2


# Slow and hostile scrapers.


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /metrics HTTP/1.1\r\n", b"X-Header: one more\r\n"),
        (b"GET /metrics?", b"a"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", b"x"),
        (b"", b"GET /healthz HTTP/1.1\r\n\r\n"),
    ],
    ids=["headers", "request line", "body", "requests"],
)
def test_a_caller_that_sends_without_end_is_cut_off(begin: bytes, part: bytes) -> None:
    """After its answer and a little more, long before its time is over; what waits to be read is bounded as well."""
    with opened(request_s=HANG_S) as port, socket.create_connection(("127.0.0.1", port.number), HANG_S) as line:
        line.sendall(begin)
        with pytest.raises(ConnectionError):
            send_without_end(line, 1000 * part)
        wait_until(lambda: not port._connections)
        assert ask(port.number, "/healthz").status == 200


def send_without_end(line: socket.socket, part: bytes) -> None:
    while True:
        line.sendall(part)


def test_a_caller_that_sends_a_body_has_its_answer() -> None:
    """What it sends beside its request is read over, as far as anybody in good faith goes."""
    with opened() as port:
        received = raw(port, b"POST /healthz HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + 50_000 * b"x")
    assert received.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert received.endswith(b"Method Not Allowed\n")


def test_the_thread_rests_three_times_as_long_as_it_computed() -> None:
    """After each turn, whatever it was for; not before its first one, and not so long that a probe would be late."""
    computed, rested = [0.0], list[float]()
    selector = RestingSelector(clock=lambda: computed[0], sleep=rested.append)
    with closing(selector), closing(socket.socket()) as one, closing(socket.socket()) as other:
        key = selector.register(one, selectors.EVENT_READ, "data")
        selector.register(other, selectors.EVENT_READ)
        assert selector.get_key(one) == key
        assert selector.modify(one, selectors.EVENT_WRITE).events == selectors.EVENT_WRITE
        assert len(selector.get_map()) == 2
        selector.unregister(other)
        assert len(selector.get_map()) == 1
        computed[0] = 5.0
        selector.select(0)
        computed[0] += 0.001
        selector.select(0)
        computed[0] += 1.0
        selector.select(0)
        selector.select(0)
    assert rested == pytest.approx([0.003, MOST_S, 0.0])


def test_what_callers_have_the_port_do_costs_at_most_a_quarter_of_a_core() -> None:
    """However fast they come: the port's own account of what it has computed says so."""
    with opened() as port:
        began = time.monotonic()
        computed = in_thread_of(port, time.thread_time)
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", port.number), HANG_S) as line:
                line.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert ask(port.number, "/healthz").status == 200
        computed = in_thread_of(port, time.thread_time) - computed
        passed = time.monotonic() - began
    assert computed <= passed / (1 + RESTS) + MOST_S


def in_thread_of(port: OperatorsPort, function: Callable[[], float]) -> float:
    """What it returns there."""

    async def call() -> float:
        return function()

    return asyncio.run_coroutine_threadsafe(call(), port._loop).result(HANG_S)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_hundred_scrapers_that_do_not_read_take_neither_threads_nor_more_than_their_pages() -> None:
    """Each holds one connection and at most one page. When their time is over, nothing is left of them."""
    page = b"x" * 2**20
    with opened(request_s=HANG_S) as port, ExitStack() as lines:
        port.show_metrics([Form(content_type="text/x", write=lambda: page)])
        assert ask(port.number, "/metrics").status == 200
        threads, files, memory = threading.active_count(), descriptors(), private_bytes()
        for number in range(100):
            lines.enter_context(unread_scrape(port, number))
        wait_until(lambda: len(port._connections) == 100)
        assert ask(port.number, "/metrics").status == 200
        assert threading.active_count() <= threads
        assert descriptors() <= files + 2 * 100 + 1  # both ends are of this process
        now = private_bytes()
        assert memory is not None
        assert now is not None
        assert now - memory < 100 * (len(page) + 2**17) + 2**26
        lines.close()
        wait_until(lambda: not port._connections)
        wait_until(lambda: descriptors() < files + 100)


def unread_scrape(port: OperatorsPort, number: int) -> socket.socket:
    """A scraper with headers of its own, which takes as little of its page as it can."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(HANG_S)
    line.connect(("127.0.0.1", port.number))
    line.sendall(f"GET /metrics?{number} HTTP/1.1\r\nAccept: text/{number}, */*;q=0.{number}\r\n\r\n".encode())
    return line


def test_a_scraper_that_does_not_read_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then its connection ends, however much of its page is left."""
    over = threading.Event()
    connected = OperatorsPort._connected

    async def until_its_end(self: OperatorsPort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await connected(self, reader, writer)
        finally:
            over.set()

    monkeypatch.setattr(OperatorsPort, "_connected", until_its_end)
    with opened(request_s=0.05) as port:
        port.show_metrics([Form(content_type="text/x", write=lambda: b"x" * 2**24)])
        with unread_scrape(port, 1):
            assert over.wait(HANG_S)
        wait_until(lambda: not port._connections)


def test_whatever_scrapers_ask_for_there_are_few_pages() -> None:
    """A hundred that each ask for something else at the same time cost one page for each form, and not one for each."""
    plain, other = Counting(), Counting()
    forms = [Form(content_type="text/x", write=plain), Form(content_type="text/y", write=other)]
    with opened() as port, ThreadPoolExecutor(100) as callers:
        port.show_metrics(forms)
        told = [
            callers.submit(
                ask,
                port.number,
                f"/metrics?name[]={number}",
                accept=f"text/{number}, text/{'xy'[number % 2]}; a{number}=b, text/{'xy'[number % 2]};q=0.5",
                **{"accept-encoding": f"gzip;q=0, x{number}"},
            )
            for number in range(100)
        ]
        wait_until(lambda: len(port._connections) == 100)
        plain.gate.set()
        other.gate.set()
        assert {item.result().status for item in told} == {200}
    assert plain.calls <= 2
    assert other.calls <= 2


def compute(seconds: float) -> float:
    """Use so much CPU time, at least; how much it was."""
    began = time.thread_time()
    while (spent := time.thread_time() - began) < seconds:
        pass
    return spent


async def rests(asked: Sequence[float], *, page_s: float) -> list[float]:
    """How long the port rests before each page, if it computes for `asked` seconds before each is asked for, and its
    worker for `page_s`.
    """
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def write() -> bytes:
        compute(page_s)
        return b""

    with ThreadPoolExecutor(1) as worker, pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        patch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
        pages = Scrapes([Form(content_type="text/x", write=write)], worker)
        for seconds in asked:
            compute(seconds)
            await pages.page(Request(method="GET", path="/metrics"))
    return slept


async def test_after_a_page_the_port_rests() -> None:
    """For nine times as long as the page took a core, or scrapers could take it from frames."""
    first, *others = await rests([0, 0, 0], page_s=0.01)
    assert first <= 0
    assert all(rest >= 0.09 for rest in others)


async def test_what_answers_take_counts_too() -> None:
    """A page is made once for a thousand callers, but each of them is answered."""
    found = await rests([0, 0.02, 0], page_s=0)
    assert found[2] >= 9 * 0.02


async def test_the_rest_has_an_end() -> None:
    """Whoever floods the port with probes does not keep scrapers from their page."""
    found = await rests([0, 0.2, 0], page_s=0)
    assert found[2] == scrapes.MOST_REST_S


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
