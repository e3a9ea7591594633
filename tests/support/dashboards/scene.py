"""What the picture of the dashboards shows: two servers with twelve cameras, five minutes, and three incidents.

Why so short: the servers, the scrapes and the incidents are real, only the waits between them are not those of a night.
Trap: streams are long. When a server leaves, its cameras go to the other one, and stay there when it is back.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from deploy.prometheus.command import rules_text
from reidstream_proto.v1 import service_pb2, session_pb2
from tests.support.dashboards.board import Chosen
from tests.support.harness import RawStream, box, encode, frame, picture, stub_of
from tests.support.prometheus import Prometheus, running_prometheus

SCRAPE_S = 2
NAMES = ("gate-1", "gate-2")
LASTS_S = 300
CHOSEN = Chosen(rate_interval=f"{SCRAPE_S * 4}s", range=f"{LASTS_S}s")

_CAMERAS, _PERIOD_S = 6, 0.2
_BUDGET_MS = 400
_STALL_S = 12
_SLOW, _DEAF, _LEAVES = (60, 105), (130, 165), (195, 225)
_IMAGE = encode(picture(640, 480))
_BOXES = [box(20 + 150 * place, 40, 120 + 150 * place, 300) for place in range(4)]
_FLAGS = ("--tune-seconds", "0", "--log-format", "json", "--stall-timeout-s", str(_STALL_S), "--max-sessions", "32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What was done, and when, in seconds since the beginning."""

    begins_s: float
    ends_s: float
    text: str


@dataclass(slots=True)
class Server:
    """One process, which may be started again on its ports."""

    name: str
    port: int = 0
    metrics_port: int = 0
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it serves."""
        command = [sys.executable, "-m", "tests.support.dashboards.slow_server", *_FLAGS]
        command += ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port, self.metrics_port = map(int, self.process.stdout.readline().split())

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Drain, and wait for the end."""
        assert self.process is not None
        self.process.terminate()
        self.process.communicate()


@dataclass(slots=True)
class Scene:
    """What happened. `began_s`: by the clock of Prometheus, which is this machine's."""

    prometheus: Prometheus
    began_s: float
    incidents: list[Incident] = field(default_factory=list)


@contextmanager
def played(folder: Path) -> Iterator[Scene]:
    """All of it, over; Prometheus still answers."""
    servers = [Server(name) for name in NAMES]
    for server in servers:
        server.start()
    (folder / "reidstream.rules.yml").write_text(rules_text(), encoding="utf-8")
    try:
        with running_prometheus(folder, _config(servers)) as prometheus:
            scene = Scene(prometheus, time.time())
            scene.incidents += asyncio.run(_play(servers))
            yield scene
    finally:
        for server in servers:
            server.stop()


def _config(servers: list[Server]) -> str:
    targets = "".join(
        f"\n  - targets: ['127.0.0.1:{server.metrics_port}']\n    labels: {{instance: {server.name}}}"
        for server in servers
    )
    return (
        f"global: {{scrape_interval: {SCRAPE_S}s, scrape_timeout: {SCRAPE_S}s, evaluation_interval: {SCRAPE_S}s}}\n"
        f"rule_files: [reidstream.rules.yml]\nscrape_configs:\n- job_name: reidstream\n  static_configs:{targets}\n"
    )


async def _play(servers: list[Server]) -> list[Incident]:
    first, second = servers
    began = time.monotonic()

    async def at(second_of_it: float) -> float:
        await asyncio.sleep(began + second_of_it - time.monotonic())
        return time.monotonic() - began

    tasks = [asyncio.create_task(_camera(servers, home, number)) for home in (0, 1) for number in range(_CAMERAS)]
    found = []
    begins_s = await at(_SLOW[0])
    second.tell(signal.SIGUSR1)
    ends_s = await at(_SLOW[1])
    second.tell(signal.SIGUSR1)
    found.append(Incident(begins_s=begins_s, ends_s=ends_s, text="the engine of gate-2 is slow"))
    begins_s = await at(_DEAF[0])
    deaf = asyncio.create_task(_deaf(first.port))
    ends_s = await at(_DEAF[1])
    deaf.cancel()
    found.append(Incident(begins_s=begins_s, ends_s=ends_s, text="a client of gate-1 sends and does not read"))
    begins_s = await at(_LEAVES[0])
    await asyncio.to_thread(second.stop)
    await at(_LEAVES[1])
    await asyncio.to_thread(second.start)
    ends_s = time.monotonic() - began
    found.append(Incident(begins_s=begins_s, ends_s=ends_s, text="gate-2 drains, ends, and starts again"))
    await at(LASTS_S)
    for task in (*tasks, deaf):
        task.cancel()
    await asyncio.gather(*tasks, deaf, return_exceptions=True)
    return found


async def _camera(servers: list[Server], home: int, number: int) -> None:
    """Sends five frames a second for ever: to its server, and to the other one when it is asked to go."""
    policy = session_pb2.OVERLOAD_POLICY_DROP_OLDEST if number % 2 else session_pb2.OVERLOAD_POLICY_WAIT
    budget = {} if number % 3 else {"latency_budget_ms": _BUDGET_MS}
    for place in itertools.cycle((home, 1 - home)):
        with suppress(grpc.aio.AioRpcError, AssertionError):
            async with _stream(servers[place].port) as stream:
                await stream.open(camera_id=f"{NAMES[home]} {number}", overload_policy=policy, **budget)
                sending = asyncio.create_task(_send(stream, _PERIOD_S, number / _CAMERAS))
                try:
                    await _read_until_told(stream)
                finally:
                    sending.cancel()
        await asyncio.sleep(_PERIOD_S)


async def _send(stream: RawStream, period_s: float, phase: float) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await asyncio.sleep(period_s * phase)
        for number in itertools.count(1):
            await stream.call.write(frame(number, _IMAGE, _BOXES))
            await asyncio.sleep(period_s)


async def _read_until_told(stream: RawStream) -> None:
    """Until the server asks the camera to go, or the stream is over."""
    while (answer := await stream.read()) is not None:
        if answer.HasField("drain"):
            await stream.call.done_writing()


async def _deaf(port: int) -> None:
    """Sends as fast as it may, and reads no answer."""
    large = [box(5 + place, 5 + place, 200 + place, 300 + place) for place in range(100)]
    async with _stream(port) as stream:
        await stream.open(camera_id="deaf")
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for number in itertools.count(1):
                await stream.call.write(service_pb2.EmbedStreamRequest(frame=frame(number, _IMAGE, large).frame))
                await asyncio.sleep(_PERIOD_S)


@asynccontextmanager
async def _stream(port: int) -> AsyncIterator[RawStream]:
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(stub_of(port))
        call = stub.EmbedStream()
        stack.callback(call.cancel)
        yield RawStream(call)
