"""SIGTERM under load: every accepted frame is answered, every client is told to leave, the exit code is 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reidstream_proto.v1 import image_pb2, service_pb2_grpc, session_pb2
from tests.support.harness import RawStream, box, encode, frame, picture
from tests.support.process import server_process

CAMERAS = 8
IMAGE = encode(picture(640, 480))
BOXES = [box(20 * i, 30, 20 * i + 60, 200) for i in range(8)]


async def pour(stream: RawStream, drained: asyncio.Event, boxes: Sequence[image_pb2.Box] = BOXES) -> None:
    """Send frames until the server asks to leave."""
    number = 0
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while not drained.is_set():
            number += 1
            await stream.call.write(frame(number, IMAGE, boxes))


async def drink(
    stream: RawStream, warm: asyncio.Event, drained: asyncio.Event
) -> tuple[list[int], int, session_pb2.Drain]:
    """Every answered frame in order, how many had a fault, and the drain; `warm` is set by the fifth answer."""
    answered: list[int] = []
    faults = 0
    drain: session_pb2.Drain | None = None
    while (answer := await stream.read()) is not None:
        if answer.HasField("drain"):
            assert drain is None
            drain = answer.drain
            drained.set()
        else:
            answered.append(answer.frame_result.frame_id)
            faults += answer.frame_result.HasField("error")
            if len(answered) == 5:
                warm.set()
    assert drain is not None
    return answered, faults, drain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_no_accepted_frame_is_lost_when_the_server_is_told_to_stop(number: signal.Signals) -> None:
    """Each stream gets a Drain that names its last accepted frame, and the answers up to it, then OK."""
    with server_process() as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = service_pb2_grpc.EmbeddingServiceStub(channel)
            streams = [RawStream(stub.EmbedStream()) for _ in range(CAMERAS)]
            warm = [asyncio.Event() for _ in streams]
            for index, stream in enumerate(streams):
                await stream.open(camera_id=f"camera-{index}", window=session_pb2.Window(frames=16))
            drained = [asyncio.Event() for _ in streams]
            pouring = [asyncio.create_task(pour(s, event)) for s, event in zip(streams, drained, strict=True)]
            drinking = [asyncio.create_task(drink(*each)) for each in zip(streams, warm, drained, strict=True)]
            for event in warm:
                await event.wait()
            server.terminate(number)
            outcomes = await asyncio.gather(*drinking)
            codes = [await stream.call.code() for stream in streams]
            await asyncio.gather(*pouring)
        assert await asyncio.to_thread(server.wait) == 0
    for (answered, faults, drain), code in zip(outcomes, codes, strict=True):
        assert code == grpc.StatusCode.OK
        assert faults == 0
        assert answered == list(range(1, drain.last_accepted_frame_id + 1))
        assert drain.reason == session_pb2.DRAIN_REASON_SHUTDOWN


async def test_idle_streams_do_not_hold_the_process() -> None:
    """A stream with nothing open is ended at once, and a watcher of health sees the end coming."""
    with server_process() as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open()
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            server.terminate()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            answer = await stream.read()
            assert answer is not None
            assert answer.HasField("drain")
            assert not answer.drain.HasField("last_accepted_frame_id")
            assert await stream.read() is None
        assert await asyncio.to_thread(server.wait) == 0


async def test_a_drain_that_takes_too_long_says_so() -> None:
    """Frames that cannot be done in time are answered SHUTTING_DOWN, and the exit code is not 0."""
    with server_process("--drain-timeout-s", "0.001", "--max-queue-boxes", "20000") as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open(window=session_pb2.Window(frames=60))  # seconds of work on any machine
            pouring = asyncio.create_task(pour(stream, asyncio.Event(), BOXES * 40))
            await stream.result()
            server.terminate()
            await stream.refusal()
            await pouring
        assert await asyncio.to_thread(server.wait) == 75
