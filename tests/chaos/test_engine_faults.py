"""Engines that raise, crops that poison, engines that die or hang: who is hurt, and who is not."""

from __future__ import annotations

import asyncio
import threading

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_embedding
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from tests.support.harness import JPEG, box, frame, send_all, serving, stream_to, until
from tests.support.patience import HANG_S

EMBEDDED, FAILED = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_FAILED
POISON = PixelBox(x1=7, y1=7, x2=77, y2=77)
HOUR_MS = 3_600_000


def is_poison(crop: Crop) -> bool:
    """One certain box."""
    return isinstance(crop, BoxCrop) and crop.box == POISON


def stuck_until(gate: threading.Event) -> FakeScript:
    """Batches that do not come back before the gate opens."""

    def wait(_: float) -> None:
        gate.wait(HANG_S)

    return FakeScript(seconds_per_batch=1.0, sleep=wait)


def vectors(result: frame_pb2.FrameResult) -> dict[int, np.ndarray]:
    """Box index -> vector."""
    block = result.blocks[0]
    rows = np.frombuffer(block.data, "<f4").reshape(block.count, block.dim)
    return {i: rows[item.row] for i, item in enumerate(result.boxes) if item.HasField("row")}


async def test_a_poisonous_crop_fails_alone() -> None:
    """Its batch is tried again one by one: the others of its frame and of other frames have the right vectors."""
    engine = FakeEngine(script=FakeScript(poison=is_poison))
    boxes = [box(10, 10, 50, 90), box(7, 7, 77, 77), box(30, 20, 90, 200)]
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        messages = [frame(number, boxes=boxes) for number in range(1, 21)]
        results, _ = await asyncio.gather(stream.results(), send_all(stream, messages))
    image = parse_encoded(JPEG)
    for result in results:
        assert [item.outcome for item in result.boxes] == [EMBEDDED, FAILED, EMBEDDED]
        found = vectors(result)
        for index, (x1, y1, x2, y2) in {0: (10, 10, 50, 90), 2: (30, 20, 90, 200)}.items():
            expected = fake_embedding(image, PixelBox(x1=x1, y1=y1, x2=x2, y2=y2), 32)
            np.testing.assert_array_equal(found[index], expected)


async def test_an_engine_that_raises_hurts_only_its_batch_and_the_retry_heals_it() -> None:
    """Some batches raise; every crop is embedded in the end, and the server goes on."""
    engine = FakeEngine(script=FakeScript(failing_batches=frozenset({0, 3, 7})))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        results, _ = await asyncio.gather(
            stream.results(), send_all(stream, [frame(number) for number in range(1, 41)])
        )
    outcomes = {item.outcome for result in results for item in result.boxes}
    assert [result.frame_id for result in results] == list(range(1, 41))
    assert outcomes <= {EMBEDDED, FAILED}
    failed = sum(item.outcome == FAILED for result in results for item in result.boxes)
    assert failed <= 3  # only a crop whose single retry is one of the three numbers


async def test_an_engine_that_raises_every_time_fails_every_crop_and_hangs_nobody() -> None:
    """Every frame is answered, with FAILED boxes and no block rows."""
    engine = FakeEngine(script=FakeScript(poison=lambda _: True))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        results, _ = await asyncio.gather(
            stream.results(), send_all(stream, [frame(number) for number in range(1, 11)])
        )
    assert [[item.outcome for item in result.boxes] for result in results] == [[FAILED, FAILED]] * 10


async def test_a_lost_engine_is_told_to_every_client_and_ends_the_server() -> None:
    """Frames are answered ENGINE_LOST with UNAVAILABLE, and whoever runs the server is told."""
    engine = FakeEngine(script=FakeScript(lost_at=2))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        results, _ = await asyncio.gather(
            stream.results(), send_all(stream, [frame(number) for number in range(1, 31)])
        )
        message = await asyncio.wait_for(server.runtime.engine_died, HANG_S)
        await until(lambda: server.runtime.statistics().frames == 0)
    assert "lost by script" in message
    lost = [result.error for result in results if result.HasField("error")]
    assert lost
    assert {error.reason for error in lost} == {frame_pb2.ERROR_REASON_ENGINE_LOST}
    assert {error.code for error in lost} == {grpc.StatusCode.UNAVAILABLE.value[0]}
    assert len(results) == 30


async def test_a_batch_that_never_comes_back_is_a_lost_engine() -> None:
    """Nobody waits for it longer than the batch timeout."""
    release = threading.Event()
    engine = FakeEngine(script=stuck_until(release))
    async with serving(engine, batch_timeout_s=0.2) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        error = (await stream.result()).error
        release.set()
        assert "come back" in await server.runtime.engine_died
    assert error.reason == frame_pb2.ERROR_REASON_ENGINE_LOST


@pytest.mark.parametrize("policy", [session_pb2.OVERLOAD_POLICY_DROP_OLDEST, session_pb2.OVERLOAD_POLICY_REJECT])
async def test_overload_is_answered_while_the_engine_is_stuck(policy: session_pb2.OverloadPolicy.ValueType) -> None:
    """With the window full, frames are dropped or rejected; when the engine goes on, the rest is embedded, in order."""
    gate = threading.Event()
    engine = FakeEngine(script=stuck_until(gate))
    boxes = [box(5 * i, 10, 5 * i + 40, 100) for i in range(8)]  # a full batch each
    ordering = session_pb2.ORDERING_AS_COMPLETED
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open(overload_policy=policy, window=session_pb2.Window(frames=8), ordering=ordering)
        for number in range(1, 13):
            await stream.call.write(frame(number, boxes=boxes))
            await until(lambda number=number: stream_settled(server, number))
        early = [await stream.result() for _ in range(4)]
        gate.set()
        await stream.call.done_writing()
        late = await stream.results()
    refused = [result.frame_id for result in early]
    embedded = sorted(result.frame_id for result in late if not result.HasField("error"))
    if policy == session_pb2.OVERLOAD_POLICY_REJECT:
        assert {result.error.reason for result in early} == {frame_pb2.ERROR_REASON_WINDOW_FULL}
        assert (refused, embedded) == ([9, 10, 11, 12], [1, 2, 3, 4, 5, 6, 7, 8])
    else:  # two frames run, two are staged ahead, the others have cost nothing
        assert {result.error.reason for result in early} == {frame_pb2.ERROR_REASON_DROPPED}
        assert (refused, embedded) == ([5, 6, 7, 8], [1, 2, 3, 4, 9, 10, 11, 12])


def stream_settled(server: RunningServer, sent: int) -> bool:
    """Whether what was sent so far has come as far as it can while the engine is stuck."""
    now = server.runtime.statistics()
    return now.frames == min(sent, 8) and now.staging_frames == 0


async def test_a_budget_is_kept_while_the_engine_is_stuck() -> None:
    """A frame that waits too long is answered at its deadline, not when the engine comes back."""
    gate = threading.Event()
    engine = FakeEngine(max_batch=2, slots=1, script=stuck_until(gate))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open(latency_budget_ms=HOUR_MS, ordering=session_pb2.ORDERING_AS_COMPLETED)
        await stream.call.write(frame(1))
        await until(lambda: server.runtime.statistics().models[0].running_batches == 1)
        for number in (2, 3):
            old = frame(number)
            old.frame.age_ns = (HOUR_MS - 100) * 1_000_000
            await stream.call.write(old)
        late = [await stream.result() for _ in range(2)]
        gate.set()
        first = await stream.result()
    assert {result.frame_id for result in late} == {2, 3}
    assert {result.error.reason for result in late} == {frame_pb2.ERROR_REASON_OVER_BUDGET}
    assert (first.frame_id, first.HasField("error")) == (1, False)


async def test_a_request_of_every_kind_is_answered_beside_a_poisonous_stream() -> None:
    """A unary call while another stream's batches keep failing."""
    engine = FakeEngine(script=FakeScript(poison=is_poison))
    async with serving(engine) as server, stream_to(server) as stream:
        await stream.open()
        for number in range(1, 9):
            await stream.call.write(frame(number, boxes=[box(7, 7, 77, 77)] * 4))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.unary_unary(
                "/reidstream.v1.EmbeddingService/Embed",
                request_serializer=service_pb2.EmbedRequest.SerializeToString,
                response_deserializer=service_pb2.EmbedResponse.FromString,
            )
            options = session_pb2.EmbedOptions(camera_id="other")
            answer = await call(service_pb2.EmbedRequest(options=options, frame=frame(1).frame))
        results = [await stream.result() for _ in range(8)]
    assert [item.outcome for item in answer.result.boxes] == [EMBEDDED, EMBEDDED]
    assert all(item.outcome == FAILED for result in results for item in result.boxes)
