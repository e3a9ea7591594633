"""The window and the three policies for when it is full."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from reidstream_client import AsyncReidClient, ErrorReason, FrameTooLarge, InvalidRequest, OverloadPolicy, UnreadAnswers
from reidstream_client.session import inbox
from reidstream_proto.v1 import model_pb2
from tests.unit.client.samples import BOX, collect, frame_ids
from tests.unit.client.scripted_server import DIM, ScriptedServer, ServerStream


@pytest.mark.parametrize(("frames", "size"), [(3, 1 << 20), (8, 3500)])
async def test_wait_never_exceeds_the_window(server: ScriptedServer, frames: int, size: int) -> None:
    """Counted at a server that answers nothing until it has got a whole window, in frames and in bytes."""

    async def slow(stream: ServerStream) -> None:
        await stream.opened(frames=frames, size=size)
        for _ in range(4):
            for frame in await stream.take(3):
                await stream.answer(frame)
        assert await stream.frame() is None

    server.on_stream = slow
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        for _ in range(12):
            await session.send(b"x" * 1000, BOX)
        await session.finish()
        answers, error = await collect(session)
    assert error is None
    assert frame_ids(answers) == list(range(12))
    assert server.streams[0].max_frames == 3
    assert server.streams[0].max_bytes <= size


async def test_drop_oldest_sends_the_newest_and_answers_the_others_here(server: ScriptedServer) -> None:
    """A window of 2 and a server that waits: 0 and 1 go, 2 to 4 are replaced, 5 goes when there is room."""
    go = asyncio.Event()

    async def slow(stream: ServerStream) -> None:
        await stream.opened(frames=2)
        frames = await stream.take(2)
        await go.wait()
        for frame in frames:
            await stream.answer(frame)
        frames += await stream.take(1)
        await stream.answer(frames[2])
        assert [(frame.frame_id, frame.raw.data[0]) for frame in frames] == [(0, 0), (1, 1), (5, 5)]
        await stream.answer_all()

    server.on_stream = slow
    policy = OverloadPolicy.DROP_OLDEST
    async with AsyncReidClient(server.target) as client, client.stream(overload_policy=policy) as session:
        image = np.zeros((4, 4, 3), np.uint8)
        for i in range(6):
            image[:] = i
            await session.send(image, BOX)
        image[:] = 99  # the camera fills its buffer again while frame 5 waits
        now = session.statistics()
        assert (now.window_frames, now.held, now.undelivered) == (2, 1, 3)
        go.set()
        await session.finish()
        answers, error = await collect(session)
    assert error is None
    assert frame_ids(answers) == list(range(6))
    assert [answer.local for answer in answers] == [False, False, True, True, True, False]
    assert {answer.error.reason for answer in answers if answer.error} == {ErrorReason.DROPPED}
    assert answers[2].embeddings.shape == (1, DIM)
    assert answers[2].timing.round_trip_s is None
    assert server.streams[0].max_frames == 2


async def test_reject_answers_at_once_in_its_place(server: ScriptedServer) -> None:
    """The third frame finds the window full; send does not wait."""
    go = asyncio.Event()

    async def slow(stream: ServerStream) -> None:
        await stream.opened(frames=2)
        frames = await stream.take(2)
        await go.wait()
        for frame in frames:
            await stream.answer(frame)
        await stream.answer_all()

    server.on_stream = slow
    async with (
        AsyncReidClient(server.target) as client,
        client.stream(overload_policy=OverloadPolicy.REJECT) as session,
    ):
        for _ in range(3):
            await session.send(b"x", BOX)
        assert session.take() == []
        go.set()
        await session.finish()
        answers, _ = await collect(session)
    assert [(a.frame_id, a.local) for a in answers] == [(0, False), (1, False), (2, True)]
    assert answers[2].error is not None
    assert answers[2].error.reason is ErrorReason.WINDOW_FULL
    assert answers[2].error.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("window", ["window_frames", "window_bytes"])
async def test_a_window_is_a_number_that_the_contract_holds(server: ScriptedServer, window: str) -> None:
    """Said in our own words."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(InvalidRequest, match=f"{window} must lie in 0 to .* not -1"):
            async with client.stream(**{window: -1}):  # type: ignore[call-overload]
                pytest.fail("there is no session")


async def test_a_frame_that_can_never_be_sent_is_refused_at_once(server: ScriptedServer) -> None:
    """Over the agreed window, over the server's message: said with both numbers, and the session goes on."""
    server.on_stream = lambda stream: stream.opened(size=2000, limits=model_pb2.Limits(max_message_bytes=3000))
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        with pytest.raises(FrameTooLarge, match="window 2000"):
            await session.send(b"x" * 2500, BOX)
        with pytest.raises(FrameTooLarge, match="at most 3000 are read"):
            await session.send(b"x" * 3500, BOX)


async def test_answers_that_nobody_takes_are_bounded(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending without ever iterating ends in an error that says so, not in memory; taking them mends it."""
    monkeypatch.setattr(inbox, "MAX_UNREAD", 4)
    async with AsyncReidClient(server.target) as client, client.stream(window_frames=1) as session:
        for _ in range(5):
            await session.send(b"x", BOX)
        with pytest.raises(UnreadAnswers, match="iterate over the session"):
            await session.send(b"x", BOX)
        assert [(await anext(session)).frame_id for _ in range(5)] == [0, 1, 2, 3, 4]
        assert await session.send(b"x", BOX) == 5
