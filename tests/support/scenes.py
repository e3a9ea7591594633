"""Faults of a server, each made for real and mended again, with the alerts that must be active meanwhile.

A scene has a target of its own, with a server and a camera behind it. It waits until no alert is active there, makes
its fault, waits until exactly its alerts fire, mends it, and waits until none does. Scenes run side by side.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np
from typing_extensions import override

from reidstream_engines.errors import EngineLost
from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_engines.protocol import EngineInfo
from reidstream_proto.v1 import session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.memory.process import private_bytes
from tests.support.certificates import Pair, authority, signed
from tests.support.harness import RawStream, frame, opening, serving, stub_of, until
from tests.support.instant_server import InstantServer, instant_server
from tests.support.patience import HANG_S
from tests.support.scraped import AlertWatch, Target
from tests.support.wire import message_of, wire_to

PAGE, TICKET = "page", "ticket"
EMBED_STREAM = "/reidstream.v1.EmbeddingService/EmbedStream"
MIB = 2**20


@dataclass(slots=True, kw_only=True)
class Scene:
    """`step_s`: the time between two scrapes, unless the machine is too slow. `fired`: alerts that fired here."""

    target: Target
    watch: AlertWatch
    step_s: float
    folder: Path
    fired: set[tuple[str, str]] = field(default_factory=set)

    async def quiet(self) -> None:
        """The server is scraped, no alert is active, and none comes."""
        await self.watch.differs(f'up{{fault="{self.target.name}"}} == 1', [])
        await self.watch.settled(self.target.name, ())

    async def fires(self, *alerts: tuple[str, str]) -> None:
        """Exactly these fire."""
        await self.watch.settled(self.target.name, alerts)
        self.fired.update(alerts)

    @asynccontextmanager
    async def server(self, *engines: FakeEngine, **changes: object) -> AsyncIterator[RunningServer]:
        """A server of this process behind the target."""
        async with serving(*engines, metrics_enabled=True, **changes) as server:
            self.target.point(server.metrics_port)
            try:
                yield server
            finally:
                self.target.point(None)

    @asynccontextmanager
    async def process(self, stderr: int = subprocess.DEVNULL, *flags: str) -> AsyncIterator[InstantServer]:
        """A server in a process of its own behind the target."""
        with ExitStack() as stack:
            started = await asyncio.to_thread(stack.enter_context, instant_server(stderr, *flags))
            self.target.point(started.metrics_port)
            try:
                yield started
            finally:
                self.target.point(None)

    @asynccontextmanager
    async def camera(self, port: int, pause_s: float | None = None, **fields: object) -> AsyncIterator[None]:
        """Sends frames and reads answers; if it is cut off, it comes again. With `pause_s` it sends so often."""
        pause_s = self.step_s / 2 if pause_s is None else pause_s

        async def send(stream: RawStream) -> None:
            number = 0
            while True:
                number += 1
                await stream.call.write(frame(number))
                await asyncio.sleep(pause_s)

        async def come(stub: Any) -> None:
            stream = RawStream(stub.EmbedStream())
            sending: asyncio.Task[None] | None = None
            try:
                await stream.open(**fields)
                sending = asyncio.create_task(send(stream))
                while await stream.read() is not None:
                    pass
            finally:
                if sending is not None:
                    sending.cancel()
                    with suppress(asyncio.CancelledError, asyncio.InvalidStateError, grpc.aio.AioRpcError):
                        await sending
                stream.call.cancel()

        async def go_on(stub: Any) -> None:
            while True:
                with suppress(grpc.aio.AioRpcError):
                    await come(stub)
                await asyncio.sleep(self.step_s)

        async with stub_of(port) as stub:
            going = asyncio.create_task(go_on(stub))
            try:
                yield
            finally:
                going.cancel()
                with suppress(asyncio.CancelledError):
                    await going


Play: TypeAlias = Callable[[Scene], Coroutine[None, None, None]]


@dataclass(slots=True)
class Switch:
    """What a fake engine's `sleep` does: it waits, dies, or stands still, as it is told."""

    seconds: float = 0.0
    dead: bool = False
    running: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.running.set()

    def sleep(self, _: float) -> None:
        """For each batch."""
        if self.dead:
            raise EngineLost("lost by script")
        self.running.wait(HANG_S)
        if self.seconds:
            time.sleep(self.seconds)

    def script(self) -> FakeScript:
        """Of an engine that obeys."""
        return FakeScript(seconds_per_batch=1.0, sleep=self.sleep)


async def slow_engine(scene: Scene) -> None:
    """Each batch takes longer than a frame may; as many are in flight as the camera sends meanwhile."""
    switch = Switch()
    engine = FakeEngine(max_batch=2, slots=32, script=switch.script())
    window = session_pb2.Window(frames=64)
    async with scene.server(engine, max_window_frames=64) as server, scene.camera(server.port, window=window):
        await scene.quiet()
        switch.seconds = 2.6
        await scene.fires(("ReidstreamFramesOld", PAGE), ("ReidstreamFramesOld", TICKET))
        switch.seconds = 0.0
        await scene.quiet()


async def dead_engine(scene: Scene) -> None:
    """It is lost, and the server is started again. A process would end by itself; a test's server answers on."""
    switch = Switch()
    async with scene.server(FakeEngine(script=switch.script())) as server, scene.camera(server.port):
        await scene.quiet()
        switch.dead = True
        await scene.fires(("ReidstreamFramesLost", PAGE), ("ReidstreamFramesLost", TICKET))
    async with scene.server() as server, scene.camera(server.port):
        await scene.quiet()


async def full_queue(scene: Scene) -> None:
    """Two cameras that want no waiting send far more than the engine does, and the queue is full."""
    switch = Switch()
    engine = FakeEngine(max_batch=2, slots=1, script=switch.script())
    window = session_pb2.Window(frames=64)
    limits = {"max_queue_boxes": 4, "max_boxes_per_frame": 2, "max_window_frames": 64}
    async with scene.server(engine, **limits) as server, scene.camera(server.port):
        await scene.quiet()
        switch.seconds = scene.step_s
        async with AsyncExitStack() as stack:
            for camera in ("one", "two"):
                policy = session_pb2.OVERLOAD_POLICY_REJECT
                sends = scene.camera(
                    server.port, scene.step_s / 8, overload_policy=policy, camera_id=camera, window=window
                )
                await stack.enter_async_context(sends)
            await scene.fires(("ReidstreamFramesLost", PAGE), ("ReidstreamFramesLost", TICKET))
        switch.seconds = 0.0
        await scene.quiet()


async def stuck_engine(scene: Scene) -> None:
    """A batch does not come back. Its camera leaves before it does, so no frame is answered late."""
    switch = Switch()
    async with scene.server(FakeEngine(script=switch.script())) as server:
        async with scene.camera(server.port):
            await scene.quiet()
            switch.running.clear()
            try:
                await scene.fires(("ReidstreamQueueStuck", PAGE))
            except BaseException:
                switch.running.set()
                raise
        await until(lambda: server.runtime.open_sessions == 0)
        switch.running.set()
        async with scene.camera(server.port):
            await scene.quiet()


async def failing_engine(scene: Scene) -> None:
    """Every batch raises, and every crop that is tried alone."""
    failing = threading.Event()
    engine = FakeEngine(script=FakeScript(poison=lambda _: failing.is_set()))
    async with scene.server(engine) as server, scene.camera(server.port):
        await scene.quiet()
        failing.set()
        await scene.fires(("ReidstreamEngineFailing", PAGE))
        failing.clear()
        await scene.quiet()


class OtherEngine(FakeEngine):
    """It runs because a better one is not available."""

    @property
    @override
    def info(self) -> EngineInfo:
        return EngineInfo(engine="fake", device="none", precision="fp32", fallback_reason="no GPU by script")


async def fallback(scene: Scene) -> None:
    """A server starts without its GPU, and is started again when it is back."""
    async with scene.server(OtherEngine()) as server, scene.camera(server.port):
        await scene.fires(("ReidstreamEngineFallback", TICKET))
    async with scene.server() as server, scene.camera(server.port):
        await scene.quiet()


async def dropped_frames(scene: Scene) -> None:
    """A camera that keeps its newest frame sends far more than its window has room for."""
    switch = Switch()
    policy, window = session_pb2.OVERLOAD_POLICY_DROP_OLDEST, session_pb2.Window(frames=2)
    async with scene.server(FakeEngine(script=switch.script())) as server, scene.camera(server.port):
        await scene.quiet()
        switch.seconds = scene.step_s
        async with scene.camera(
            server.port, scene.step_s / 16, overload_policy=policy, window=window, camera_id="hasty"
        ):
            await scene.fires(("ReidstreamFramesGivenUp", TICKET))
        switch.seconds = 0.0
        await scene.quiet()


async def no_room_for_a_session(scene: Scene) -> None:
    """A second camera comes again and again to a server that takes one."""
    async with scene.server(max_sessions=1) as server, scene.camera(server.port):
        await scene.quiet()
        async with scene.camera(server.port, camera_id="second"):
            await scene.fires(("ReidstreamCallsRefused", TICKET))
        await scene.quiet()


async def stalled_clients(scene: Scene) -> None:
    """Clients that read nothing, and come again when they are cut off."""

    def stalled(server: RunningServer) -> float:
        return server.parts.registry.get_sample_value("reidstream_sessions_ended_total", {"cause": "stalled"}) or 0.0

    async def stall(server: RunningServer) -> None:
        data = message_of(opening().SerializeToString()) + message_of(frame(1).SerializeToString())
        for number in itertools.count(1):  # a session may be over before anybody has seen it open
            async with wire_to(server.port, window=4096) as mute:
                mute.call(EMBED_STREAM, data)
                await until(lambda: stalled(server) >= number)  # noqa: B023

    async with scene.server(FakeEngine(fake_spec(dim=4096)), stall_timeout_s=scene.step_s) as server:
        await scene.quiet()
        stalling = asyncio.create_task(stall(server))
        try:
            await scene.fires(("ReidstreamClientsStalled", TICKET))
        finally:
            stalling.cancel()
            with suppress(asyncio.CancelledError):
                await stalling
        await scene.quiet()


async def endless_drain(scene: Scene) -> None:
    """A server that was told to stop waits for a client that does not read its answer."""
    data = message_of(opening().SerializeToString()) + message_of(frame(1).SerializeToString())
    async with scene.server(FakeEngine(fake_spec(dim=4096))) as server:
        await scene.quiet()
        async with wire_to(server.port, window=4096) as mute:
            mute.call(EMBED_STREAM, data)
            await until(lambda: server.runtime.window_statistics().unwritten_answers == 1)
            draining = asyncio.create_task(server.drain())
            await scene.fires(("ReidstreamNotReady", PAGE))
        await draining
    async with scene.server():
        await scene.quiet()


async def certificate(scene: Scene) -> None:
    """It has a week, then a day, then is renewed."""
    root = await asyncio.to_thread(authority, scene.folder, "ca")

    async def pair(days: int) -> dict[str, Path]:
        made: Pair = await asyncio.to_thread(signed, root, f"gate-{days}", alternative="DNS:gate", days=days)
        return {"tls_cert_file": made.certificate, "tls_key_file": made.key}

    name = "ReidstreamCertificateExpires"
    async with scene.server(**await pair(7)):
        await scene.fires((name, TICKET))
    async with scene.server(**await pair(1)):
        await scene.fires((name, PAGE), (name, TICKET))
    async with scene.server(**await pair(365)):
        await scene.quiet()


async def leak(scene: Scene) -> None:
    """The process holds memory that is in no account. Nobody calls: the watch of memory would end their connections."""
    small = {
        **dict.fromkeys(("max_receiving_bytes", "max_parked_bytes", "max_queue_bytes", "max_staged_bytes"), MIB),
        "max_held_answer_bytes": MIB,
        "max_message_bytes": MIB,
        "max_tracks_per_session": 0,
        "max_sessions": 4,
        "max_calls": 4,
    }
    async with scene.server(**small) as server:
        await scene.quiet()
        missing = int(0.97 * server.parts.budget.total_bytes) - (private_bytes() or 0)
        held = await asyncio.to_thread(np.ones, missing, np.uint8)
        await scene.fires(("ReidstreamMemoryHigh", TICKET))
        del held
        await scene.quiet()


async def descriptors(scene: Scene) -> None:
    """Connections take nearly all descriptors that a process may have."""
    async with scene.process() as server, scene.camera(server.port):
        await scene.quiet()
        most = 2 * _open_descriptors(server)
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, hard))
        await scene.quiet()
        with ExitStack() as stack:
            while _open_descriptors(server) < 0.85 * most:
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                await asyncio.sleep(0.01)  # until it is taken
            await scene.fires(("ReidstreamDescriptorsHigh", TICKET))
        await scene.quiet()


def _open_descriptors(server: InstantServer) -> int:
    return sum(1 for _ in Path(f"/proc/{server.process.pid}/fd").iterdir())


async def unread_log(scene: Scene) -> None:
    """Whoever reads the log goes, and comes back."""
    pipe = scene.folder / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        async with scene.process(writer) as server, scene.camera(server.port):
            os.close(writer)
            await scene.quiet()
            os.close(reader)
            talking = asyncio.create_task(_talk(server.port, scene.step_s))
            await scene.fires(("ReidstreamLogLinesDropped", TICKET))
            reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            await scene.quiet()
            talking.cancel()
    finally:
        os.close(reader)


async def _talk(port: int, pause_s: float) -> None:
    """Sessions that are opened and ended, each with two lines of the log, until cancelled."""
    async with stub_of(port) as stub:
        while True:
            stream = RawStream(stub.EmbedStream())
            await stream.open()
            await stream.call.done_writing()
            await stream.results()
            await asyncio.sleep(pause_s)


async def restarts(scene: Scene) -> None:
    """Another process answers whenever Prometheus has seen the one before."""
    started = f'process_start_time_seconds{{fault="{scene.target.name}"}}'
    async with scene.process() as other, scene.server() as server:
        await scene.quiet()

        async def change() -> None:
            for port in itertools.cycle((other.metrics_port, server.metrics_port)):
                seen = await scene.watch.values(started)
                scene.target.point(port)
                await scene.watch.differs(started, seen)

        changing = asyncio.create_task(change())
        await scene.fires(("ReidstreamRestarting", PAGE))
        changing.cancel()
        scene.target.point(server.metrics_port)
        await scene.quiet()


async def gone(scene: Scene) -> None:
    """A server ends, and is started again."""
    async with scene.server() as server, scene.camera(server.port):
        await scene.quiet()
    await scene.fires(("ReidstreamScrapeGone", PAGE))
    async with scene.server() as server, scene.camera(server.port):
        await scene.quiet()


SCENES: tuple[Play, ...] = (
    slow_engine,
    dead_engine,
    full_queue,
    stuck_engine,
    failing_engine,
    fallback,
    dropped_frames,
    no_room_for_a_session,
    stalled_clients,
    endless_drain,
    certificate,
    leak,
    descriptors,
    unread_log,
    restarts,
    gone,
)
