"""What a session does while all goes well: order, ids, ages, models."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

from reidstream_client import AsyncReidClient, ErrorReason, InvalidRequest, ModelChoice, Ordering, OverloadPolicy
from reidstream_proto.v1 import frame_pb2, service_pb2
from tests.unit.client.samples import BOX, collect, frame_ids
from tests.unit.client.scripted_server import (
    DIM,
    OTHER_SPACE,
    SPACE,
    ScriptedServer,
    ServerStream,
    block,
    f32,
    model,
    result,
)


async def test_a_thousand_frames_come_back_in_order_each_once(server: ScriptedServer) -> None:
    """One task sends, another iterates; each box has its own vector."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:

        async def feed() -> None:
            for i in range(1000):
                assert await session.send(b"file", [[i, 0, 1, 2]]) == i
            await session.finish()

        feeding = asyncio.create_task(feed())
        answers, error = await collect(session)
        await feeding
    assert error is None
    assert frame_ids(answers) == list(range(1000))
    assert all(answer.embeddings.tolist() == [[i, 0, i, 2]] for i, answer in enumerate(answers))


async def test_sending_all_and_then_reading_needs_no_second_task(server: ScriptedServer) -> None:
    """Answers are read while nobody iterates, so the window does not stay full."""
    async with AsyncReidClient(server.target) as client, client.stream(window_frames=2) as session:
        for _ in range(50):
            await session.send(b"file", BOX)
        await session.finish()
        answers, _ = await collect(session)
    assert frame_ids(answers) == list(range(50))


async def test_what_was_agreed_is_published(server: ScriptedServer) -> None:
    """As asked, with the server's window where it gives less."""
    async with (
        AsyncReidClient(server.target, camera_id="a") as client,
        client.stream(
            camera_id="b",
            ordering=Ordering.AS_COMPLETED,
            overload_policy=OverloadPolicy.REJECT,
            window_frames=100,
            window_bytes=5000,
        ) as session,
    ):
        opened = session.opened
    assert (opened.window_frames, opened.window_bytes) == (8, 5000)
    assert (opened.ordering, opened.overload_policy) == (Ordering.AS_COMPLETED, OverloadPolicy.REJECT)
    assert [(m.name, m.dim, m.space_id) for m in opened.models] == [("scripted", DIM, SPACE)]
    assert opened.latency_budget_s is None
    asked = server.streams[0].open
    assert asked.options.camera_id == "b"
    assert len(asked.session_id) == 16
    assert asked.epoch == 0


@pytest.mark.parametrize(("ordering", "expected"), [(Ordering.IN_ORDER, [0, 1, 2]), (Ordering.AS_COMPLETED, [2, 0, 1])])
async def test_the_agreed_order_is_kept(server: ScriptedServer, ordering: Ordering, expected: list[int]) -> None:
    """Also when the server answers in another one."""

    async def shuffled(stream: ServerStream) -> None:
        await stream.opened()
        frames = await stream.take(3)
        for index in (2, 0, 1):
            await stream.answer(frames[index])
        await stream.answer_all()

    server.on_stream = shuffled
    async with AsyncReidClient(server.target) as client, client.stream(ordering=ordering) as session:
        for _ in range(3):
            await session.send(b"x", BOX)
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == (expected, None)


async def test_frames_may_be_numbered_by_the_caller(server: ScriptedServer) -> None:
    """Gaps are allowed, going back is not, and a refused frame leaves the session as it was."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        assert await session.send(b"x", BOX, frame_id=1051) == 1051
        with pytest.raises(InvalidRequest, match="1051 came after 1051"):
            await session.send(b"x", BOX, frame_id=1051)
        with pytest.raises(InvalidRequest, match="captured_monotonic or age_s"):
            await session.send(b"x", BOX, age_s=1, captured_monotonic=2)
        assert await session.send(b"x", BOX, age_s=0.5) == 1052
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == ([1051, 1052], None)


async def test_a_frame_ages_while_it_waits_for_the_window(server: ScriptedServer) -> None:
    """From `send` on, without being told when it was taken: a budget counts what it waited here."""
    waiting = asyncio.Event()
    ages: list[int] = []
    room_ns: list[int] = []

    async def one_at_a_time(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        (first,) = await stream.take(1)
        await waiting.wait()
        room_ns.append(time.monotonic_ns())
        await stream.answer(first)
        (second,) = await stream.take(1)
        ages.extend((first.age_ns, second.age_ns))
        await stream.answer(second)

    server.on_stream = one_at_a_time
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"file", BOX)
        sending = asyncio.create_task(session.send(b"file", BOX))
        await asyncio.sleep(0)  # it has begun
        begun_ns = time.monotonic_ns()
        waiting.set()
        await sending
        await session.finish()
        await collect(session)
    assert ages[1] >= room_ns[0] - begun_ns
    assert all(age > 0 for age in ages)


async def test_a_frame_ages_while_there_is_no_stream(server: ScriptedServer) -> None:
    """What a resuming session sends again is older than it was."""
    ages: list[int] = []

    async def cut_once(stream: ServerStream) -> None:
        await stream.opened()
        (frame,) = await stream.take(1)
        ages.append(frame.age_ns)
        if stream.open.epoch == 0:
            await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        await stream.answer(frame)
        await stream.answer_all()

    server.on_stream = cut_once
    async with AsyncReidClient(server.target) as client, client.resuming_stream() as session:
        await session.send(b"file", BOX)
        await session.finish()
        assert [answer.frame_id async for answer in session] == [0]
    assert 0 < ages[0] < ages[1]


async def test_no_boxes_and_frame_errors_are_answers_like_others(server: ScriptedServer) -> None:
    """(0, D) for the first; the second is data and ends nothing."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        empty, bad, good = await stream.take(3)
        await stream.answer(empty)
        error = frame_pb2.FrameError(code=3, reason=frame_pb2.ERROR_REASON_INVALID_IMAGE, message="garbage")
        await stream.answer(frame_pb2.FrameResult(frame_id=bad.frame_id, error=error))
        await stream.answer(good)
        await stream.answer_all()

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", [])
        await session.send(b"garbage", BOX * 2)
        await session.send(b"x", BOX)
        await session.finish()
        answers, error = await collect(session)
    assert error is None
    assert [answer.embeddings.shape for answer in answers] == [(0, DIM), (2, DIM), (1, DIM)]
    assert answers[1].error is not None
    assert answers[1].error.reason is ErrorReason.INVALID_IMAGE
    assert answers[2].valid.all()


async def test_several_models_are_agreed_with_their_classes(server: ScriptedServer) -> None:
    """Rows go under their own model."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(model(), model("vehicle", dim=2, space=OTHER_SPACE))
        (frame,) = await stream.take(1)
        answer = result(frame)
        answer.boxes[1].CopyFrom(frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_EMBEDDED, block=1, row=0))
        answer.blocks.append(block("vehicle", f32([[7, 8]]), space=OTHER_SPACE))
        await stream.answer(answer)
        await stream.answer_all()

    server.on_stream = script
    choices = [ModelChoice(), ModelChoice(name="vehicle", class_ids=(2,))]
    async with AsyncReidClient(server.target, models=choices) as client, client.stream() as session:
        await session.send(b"x", BOX * 2, class_ids=[0, 2])
        await session.finish()
        ((answer,), error) = await collect(session)
    assert error is None
    assert answer.for_model("scripted").valid.tolist() == [True, False]
    assert answer.for_model("vehicle").embeddings.tolist() == [[0, 0], [7, 8]]


async def test_messages_of_a_newer_contract_are_passed_over(server: ScriptedServer) -> None:
    """A kind of answer that this client does not know is not its concern."""

    async def newer(stream: ServerStream) -> None:
        await stream.opened()
        await stream.write(service_pb2.EmbedStreamResponse())
        await stream.answer_all()

    server.on_stream = newer
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == ([0], None)
