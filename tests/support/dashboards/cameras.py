"""Cameras of every kind at one small server: what a panel shows happens here, again and again, until it is enough.

Why a load that is wrong on purpose: a panel of losses, refusals or slow readers is tested only where there are some.
Trap: it must not need much of a machine, so each camera sends some frames a second and the server is made small.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import grpc

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.app import RunningServer, operators_port, running_server
from reidstream_server.loading import Engines
from tests.support.half_messages import half_messages
from tests.support.harness import RawStream, box, frame, settings, stream_to, stub_of, until
from tests.support.patience import HANG_S

_WAIT, _DROP, _REJECT = (
    session_pb2.OVERLOAD_POLICY_WAIT,
    session_pb2.OVERLOAD_POLICY_DROP_OLDEST,
    session_pb2.OVERLOAD_POLICY_REJECT,
)
_PAUSE_S = 0.02
_BOXES = [box(10, 10, 60, 120), box(100, 20, 160, 200), box(20, 20, 90, 200), box(1, 1, 2, 2)]
_POISON = box(7, 7, 77, 77)
_LATE_NS = 2_000_000_000


@asynccontextmanager
async def small_server(**changes: object) -> AsyncIterator[RunningServer]:
    """One that a few cameras fill: batches of 4 crops that take 30 ms, and a queue of 40 boxes."""

    def poisoned(crop: Crop) -> bool:
        return isinstance(crop, BoxCrop) and (crop.box.x1, crop.box.y1) == (7, 7)

    script = FakeScript(seconds_per_batch=0.03, poison=poisoned)
    engine = FakeEngine(max_batch=4, slots=1, cores=1, script=script)
    small: dict[str, object] = {
        "metrics_enabled": True,
        "max_queue_boxes": 40,
        "max_boxes_per_frame": 20,
        "default_window_frames": 2,
        "max_sessions": 20,
    }
    async with server_of(engine, FakeStager(seconds=0.004), **(small | changes)) as server:
        server.parts.series.self_tested(engine.spec.name, 0.99999)
        yield server


@asynccontextmanager
async def server_of(engine: FakeEngine, stager: FakeStager, **changes: object) -> AsyncIterator[RunningServer]:
    """A running server with a stager of the test's own."""
    config = settings(**changes)
    with operators_port(config) as operators:
        async with running_server(config, Engines(engines=(engine,), stager=stager), operators) as server:
            yield server


@asynccontextmanager
async def busy(server: RunningServer) -> AsyncIterator[None]:
    """All kinds of cameras send until the block ends."""
    async with _at_work(
        *(_camera(server, _WAIT) for _ in range(3)),
        _camera(server, _DROP, pause_s=_PAUSE_S / 4),
        _camera(server, _REJECT, pause_s=_PAUSE_S / 4),
        _camera(server, _WAIT, late=True),
        _camera(server, _WAIT, broken=True),
        _visitor(server),
        _crowd(server),
        _calls(server),
        _slow_sender(server),
    ):
        yield


@asynccontextmanager
async def deaf(server: RunningServer) -> AsyncIterator[None]:
    """A client that reads no answer sends until the block ends."""
    async with _at_work(_deaf(server)):
        yield


@asynccontextmanager
async def _at_work(*all_of_them: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one) for one in all_of_them]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found


async def _camera(
    server: RunningServer, policy: int, *, pause_s: float = _PAUSE_S, late: bool = False, broken: bool = False
) -> None:
    async with stream_to(server) as stream:
        await stream.open(overload_policy=policy, **({"latency_budget_ms": 500} if late else {}))
        reading = asyncio.create_task(_read(stream.read))
        try:
            for number in itertools.count(1):
                await stream.call.write(
                    _frame(number, late=late and number % 3 == 0, broken=broken and number % 3 == 0)
                )
                await asyncio.sleep(pause_s)
        finally:
            reading.cancel()


async def _read(read: Callable[[], Awaitable[object]]) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        while await read() is not None:
            pass


def _frame(number: int, *, late: bool = False, broken: bool = False) -> service_pb2.EmbedStreamRequest:
    boxes = [*_BOXES, _POISON] if number % 20 == 0 else _BOXES
    message = frame(number, image=b"\xff\xd8 no picture" if broken else None, boxes=boxes)
    if late:
        message.frame.age_ns = _LATE_NS
    return message


async def _deaf(server: RunningServer) -> None:
    """Sends, and reads no answer, not even that it was cut off; then it comes again."""
    for times in itertools.count(1):
        async with stream_to(server) as stream, _at_work(_send(stream)):
            await until(lambda cut=times: _cut_off(server) >= cut)


async def _send(stream: RawStream) -> None:
    await stream.open(overload_policy=_WAIT)
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for number in itertools.count(1):
            await stream.call.write(_frame(number))
            await asyncio.sleep(_PAUSE_S)


def _cut_off(server: RunningServer) -> float:
    return server.parts.registry.get_sample_value("reidstream_sessions_ended_total", {"cause": "stalled"}) or 0.0


async def _visitor(server: RunningServer) -> None:
    """Comes with one frame, and goes: with all answers, or without a word. The crowd may have taken its place."""
    for visit in itertools.count():
        async with stream_to(server) as stream:
            with suppress(grpc.aio.AioRpcError):
                await stream.open()
                await stream.call.write(_frame(1))
                if visit % 2:
                    await stream.call.done_writing()
                    await stream.results()
        await asyncio.sleep(_PAUSE_S * 10)


async def _crowd(server: RunningServer) -> None:
    """Opens streams until one is refused, and closes them."""
    while True:
        async with AsyncExitStack() as stack:
            with suppress(grpc.aio.AioRpcError):
                for _ in range(server.parts.config.limits.max_sessions):
                    stream = await stack.enter_async_context(stream_to(server))
                    await stream.open()
        await asyncio.sleep(_PAUSE_S * 20)


async def _calls(server: RunningServer) -> None:
    """Asks for models, for one that is not there, and for the vectors of single frames."""
    single = service_pb2.EmbedRequest(frame=_frame(1).frame)
    async with stub_of(server.port) as stub:
        while True:
            await stub.ListModels(service_pb2.ListModelsRequest(), timeout=HANG_S)
            for call in (stub.GetModel(service_pb2.GetModelRequest(name="nobody")), stub.Embed(single)):
                with suppress(grpc.aio.AioRpcError):
                    await call
            await asyncio.sleep(_PAUSE_S)


async def _slow_sender(server: RunningServer) -> None:
    """Begins a call, and never sends the end of its message."""
    async with half_messages(server.port) as slow:
        slow.begin("/reidstream.v1.EmbeddingService/Embed", 1_000, 100)
        await slow.send()
        await asyncio.Event().wait()
