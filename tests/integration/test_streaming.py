"""A stream on a real socket: order, exactly once, every overload policy, both orderings."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest

from reidstream_proto.v1 import frame_pb2, session_pb2
from tests.support.harness import (
    box,
    frame,
    opening,
    send_all,
    serving,
    stream_to,
)

FRAMES = 1000
POLICIES = {
    "wait": session_pb2.OVERLOAD_POLICY_WAIT,
    "drop_oldest": session_pb2.OVERLOAD_POLICY_DROP_OLDEST,
    "reject": session_pb2.OVERLOAD_POLICY_REJECT,
}


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_thousand_frames_come_back_in_order_each_exactly_once(policy: str) -> None:
    """Sent as fast as the socket takes them, with a window of 8, whatever the policy does with what is too much."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open(overload_policy=POLICIES[policy], window=session_pb2.Window(frames=8))
        messages = [frame(2 * number + 5) for number in range(FRAMES)]
        results, _ = await asyncio.gather(stream.results(), send_all(stream, messages))
        status = await stream.call.code()
    assert [result.frame_id for result in results] == [message.frame.frame_id for message in messages]
    assert status == grpc.StatusCode.OK
    reasons = Counter(result.error.reason for result in results if result.HasField("error"))
    match policy:
        case "wait":
            assert not reasons
        case "drop_oldest":
            assert set(reasons) <= {frame_pb2.ERROR_REASON_DROPPED}
        case _:
            assert set(reasons) <= {frame_pb2.ERROR_REASON_WINDOW_FULL}
            assert all(r.error.HasField("retry_after_ms") for r in results if r.HasField("error"))
    embedded = [result for result in results if not result.HasField("error")]
    assert embedded
    for result in embedded:
        assert [item.outcome for item in result.boxes] == [frame_pb2.OUTCOME_EMBEDDED] * 2
        assert (result.blocks[0].count, len(result.blocks[0].data)) == (2, 2 * 4 * result.blocks[0].dim)


async def test_as_completed_answers_each_frame_once() -> None:
    """Every frame is answered, in whatever order."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open(ordering=session_pb2.ORDERING_AS_COMPLETED)
        results, _ = await asyncio.gather(stream.results(), send_all(stream, [frame(number) for number in range(100)]))
    assert sorted(result.frame_id for result in results) == list(range(100))


async def test_frames_that_cost_nothing_keep_their_place() -> None:
    """An empty frame and a refused one are answered between their neighbours."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        messages = [frame(1), frame(2, boxes=[]), frame(3, image=b"garbage"), frame(4)]
        results, _ = await asyncio.gather(stream.results(), send_all(stream, messages))
    assert [result.frame_id for result in results] == [1, 2, 3, 4]
    assert not results[1].HasField("error")
    assert not results[1].boxes
    assert results[2].error.reason == frame_pb2.ERROR_REASON_INVALID_IMAGE


async def test_opened_says_what_was_agreed_and_timing_is_monotonic() -> None:
    """Wishes are lowered to the limits; the timing block counts up from arrival."""
    async with serving(max_window_frames=16, default_window_frames=4) as server, stream_to(server) as stream:
        opened = await stream.open(window=session_pb2.Window(frames=999), latency_budget_ms=60000)
        assert opened.window.frames == 16
        assert opened.limits.max_window_frames == 16
        assert opened.latency_budget_ms == 60000
        assert opened.priority == session_pb2.PRIORITY_NORMAL
        assert [model.dim for model in opened.models] == [opened.models[0].dim]
        await stream.call.write(frame(7))
        timing = (await stream.result()).timing
    stamps = [timing.decoded_ns, timing.first_batch_started_ns, timing.last_batch_ended_ns, timing.sent_ns]
    assert stamps == sorted(stamps)
    assert stamps[0] > 0
    assert sum(timing.batch_sizes) == 2


async def test_a_frame_with_more_boxes_than_the_engine_takes_is_split() -> None:
    """Rows stay with their boxes over several batches."""
    boxes = [box(i, i, i + 40, i + 60) for i in range(50)]
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1, boxes=boxes))
        result = await stream.result()
    assert len(result.timing.batch_sizes) > 1
    assert [item.row for item in result.boxes] == list(range(50))


async def test_a_late_frame_is_answered_over_budget() -> None:
    """Its age at sending counts."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open(latency_budget_ms=50)
        late = frame(1)
        late.frame.age_ns = 60_000_000
        await stream.call.write(late)
        assert (await stream.result()).error.reason == frame_pb2.ERROR_REASON_OVER_BUDGET
        await stream.call.write(frame(2))
        assert (await stream.result()).frame_id == 2


async def test_float16_answers_are_the_rounded_float32() -> None:
    """Half the bytes, the same rows."""
    async with serving() as server, stream_to(server) as one, stream_to(server) as two:
        await one.open()
        await two.open(dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16)
        for stream in (one, two):
            await stream.call.write(frame(1))
        block, half = [(await stream.result()).blocks[0] for stream in (one, two)]
    assert half.dtype == frame_pb2.EMBEDDING_DTYPE_FLOAT16
    assert len(half.data) * 2 == len(block.data)


async def test_two_sessions_of_one_camera_do_not_mix() -> None:
    """Answers go to the session that asked."""
    async with serving() as server, stream_to(server) as one, stream_to(server) as two:
        for stream in (one, two):
            await stream.call.write(opening())
        await one.read()
        await two.read()
        await one.call.write(frame(1))
        await two.call.write(frame(100))
        assert (await one.result()).frame_id == 1
        assert (await two.result()).frame_id == 100
