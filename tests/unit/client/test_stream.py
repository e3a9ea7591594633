"""Sessions of the asyncio client, against a server that does right and wrong on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallRejected,
    CallTimeout,
    ErrorReason,
    FrameEmbeddings,
    FrameTooLarge,
    InvalidRequest,
    ModelChoice,
    ModelNotFound,
    Ordering,
    Overloaded,
    OverloadPolicy,
    ProtocolFault,
    ReidError,
    RetryPolicy,
    ServerUnavailable,
    SessionDrained,
    SessionEnded,
    SpaceMismatch,
    UnreadAnswers,
    aio_session,
)
from reidstream_proto.v1 import frame_pb2, model_pb2, service_pb2, session_pb2
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

BOX = [[1, 2, 3, 4]]
ONCE = RetryPolicy(attempts=1)

Script = Callable[[ServerStream], Awaitable[None]]


async def collect(session: AsyncSession) -> tuple[list[FrameEmbeddings], ReidError | None]:
    """Iterate to the end; what came, and what ended it."""
    answers: list[FrameEmbeddings] = []
    try:
        async for answer in session:
            answers.append(answer)  # noqa: PERF401 - those before an error count
    except ReidError as error:
        return answers, error
    return answers, None


def frame_ids(answers: list[FrameEmbeddings]) -> list[int]:
    return [answer.frame_id for answer in answers]


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


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_server_that_ends_while_we_write_loses_no_answer(server: ScriptedServer, leaving: bool) -> None:  # noqa: FBT001
    """Large frames are still going out when the last answers and the end come in: all are read, and the end is the
    server's own word, not an error of the write that failed.
    """

    async def script(stream: ServerStream) -> None:
        await stream.opened(frames=8, size=64 << 20)
        frames = await stream.take(3)
        if leaving:
            await stream.drain(frames[2].frame_id)
        for frame in frames:
            await stream.answer(frame)
        if not leaving:
            await stream.context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    server.on_stream = script
    async with AsyncReidClient(server.target) as client:
        for _ in range(10):
            async with client.stream() as session:

                async def feed(session: AsyncSession) -> None:
                    with contextlib.suppress(SessionDrained, Overloaded):
                        while True:
                            await session.send(b"x" * 300_000, BOX)

                feeding = asyncio.create_task(feed(session))
                answers, error = await collect(session)
                await feeding
            assert frame_ids(answers) == [0, 1, 2]
            assert type(error) is (SessionDrained if leaving else Overloaded)


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


async def test_drain_delivers_what_was_accepted_and_names_the_rest(server: ScriptedServer) -> None:
    """0 and 1 are answered after the Drain; 2 and 3 go elsewhere, and so does the frame that send refuses."""

    async def leaving(stream: ServerStream) -> None:
        await stream.opened(frames=4)
        frames = await stream.take(4)
        await stream.answer(frames[0])
        await stream.drain(1)
        await stream.answer(frames[1])

    server.on_stream = leaving
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        for _ in range(4):
            await session.send(b"x", BOX)
        answers, error = await collect(session)
        assert frame_ids(answers) == [0, 1]
        assert isinstance(error, SessionDrained)
        assert error.unanswered == (2, 3)
        assert "leaving (shutdown)" in str(error)
        with pytest.raises(SessionDrained):
            await session.send(b"x", BOX)


async def test_drain_wakes_a_sender_that_waits_for_room(server: ScriptedServer) -> None:
    """Its frame was not taken, and it learns so at once; the held frame of another policy is named instead."""
    drain = asyncio.Event()

    async def leaving(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        (frame,) = await stream.take(1)
        await drain.wait()
        await stream.drain(0)
        await stream.answer(frame)

    server.on_stream = leaving
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        waiting = asyncio.create_task(session.send(b"x", BOX))
        await server.streams[0].arrived.wait()
        drain.set()
        with pytest.raises(SessionDrained, match="send this frame elsewhere"):
            await waiting
        answers, error = await collect(session)
    assert isinstance(error, SessionDrained)
    assert (frame_ids(answers), error.unanswered) == ([0], ())


async def test_drain_before_anything_was_accepted(server: ScriptedServer) -> None:
    """An absent id means none, and not frame 0."""

    async def leaving(stream: ServerStream) -> None:
        await stream.opened()
        await stream.take(1)
        await stream.drain(None)

    server.on_stream = leaving
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        answers, error = await collect(session)
    assert answers == []
    assert isinstance(error, SessionDrained)
    assert error.unanswered == (0,)


async def test_drain_after_the_last_frame_is_a_normal_end(server: ScriptedServer) -> None:
    """The caller had finished and has every answer: nothing is left to send elsewhere."""

    async def leaving(stream: ServerStream) -> None:
        await stream.opened()
        (frame,) = await stream.take(1)
        assert await stream.frame() is None
        await stream.drain(frame.frame_id)
        await stream.answer(frame)

    server.on_stream = leaving
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == ([0], None)


async def _break_off(stream: ServerStream) -> None:
    """Answer 1 of three, then fail."""
    await stream.opened()
    frames = await stream.take(3)
    await stream.answer(frames[1])
    await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "power cut")


async def _forget(stream: ServerStream) -> None:
    """Answer 1 of three, then end with OK."""
    await stream.opened()
    frames = await stream.take(3)
    await stream.answer(frames[1])


async def _break_a_promise(stream: ServerStream) -> None:
    """Accept all of three, answer 1, and end with OK."""
    await stream.opened()
    frames = await stream.take(3)
    await stream.drain(2)
    await stream.answer(frames[1])


@pytest.mark.parametrize(
    ("script", "kind", "complaint"),
    [
        (_break_off, ServerUnavailable, "power cut"),
        (_forget, SessionEnded, "2 frames unanswered"),
        (_break_a_promise, SessionEnded, "2 frames unanswered"),
    ],
)
async def test_a_broken_stream_names_what_has_no_answer(
    server: ScriptedServer, script: Script, kind: type[ReidError], complaint: str
) -> None:
    """1's answer is delivered although 0's never came; then the error, again and again, also from send."""
    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        for _ in range(3):
            await session.send(b"x", BOX)
        answers, error = await collect(session)
        assert frame_ids(answers) == [1]
        assert type(error) is kind
        assert complaint in str(error)
        assert error.unanswered == (0, 2)
        assert await collect(session) == ([], error)
        with pytest.raises(kind):
            await session.send(b"x", BOX)


async def test_a_broken_stream_wakes_a_sender_that_waits_for_room(server: ScriptedServer) -> None:
    """Nothing hangs: the frame was not taken."""
    end = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        await stream.take(1)
        await end.wait()
        await stream.context.abort(grpc.StatusCode.INTERNAL, "")

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        waiting = asyncio.create_task(session.send(b"x", BOX))
        await server.streams[0].arrived.wait()
        end.set()
        with pytest.raises(ReidError) as caught:
            await waiting
    assert caught.value.unanswered == (0,)


def _answering(change: Callable[[frame_pb2.FrameResult], object]) -> Script:
    async def script(stream: ServerStream) -> None:
        await stream.opened()
        (frame,) = await stream.take(1)
        answer = result(frame)
        change(answer)
        await stream.write(service_pb2.EmbedStreamResponse(frame_result=answer))
        await stream.answer_all()

    return script


async def _answer_twice(stream: ServerStream) -> None:
    await stream.opened()
    (frame,) = await stream.take(1)
    await stream.answer(frame)
    await stream.answer(frame)
    await stream.answer_all()


async def _send_a_track(stream: ServerStream) -> None:
    await stream.opened()
    await stream.write(service_pb2.EmbedStreamResponse(track_ended=session_pb2.TrackEnded()))
    await stream.answer_all()


@pytest.mark.parametrize(
    ("script", "complaint", "unanswered"),
    [
        (_answering(lambda answer: setattr(answer.boxes[0], "row", 5)), "row 5 of block 0", (0,)),
        (_answering(lambda answer: setattr(answer, "frame_id", 5)), "frame 5, which does not wait", (0,)),
        (_answering(lambda answer: answer.boxes.add()), "2 boxes, the frame had 1", (0,)),
        (_answer_twice, "frame 0, which does not wait", ()),
        (_send_a_track, "track_ended, which has no place here", (0,)),
    ],
)
async def test_what_the_contract_does_not_allow_ends_the_session(
    server: ScriptedServer, script: Script, complaint: str, unanswered: tuple[int, ...]
) -> None:
    """A ProtocolFault, with the frames whose answers were not understood; the call is cancelled."""
    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        _, error = await collect(session)
    assert isinstance(error, ProtocolFault)
    assert complaint in str(error)
    assert error.unanswered == unanswered


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


async def _refuse(stream: ServerStream) -> None:
    await stream.context.abort(grpc.StatusCode.NOT_FOUND, "no model 'lost'")


async def _answer_before_opening(stream: ServerStream) -> None:
    await stream.drain(None)


@pytest.mark.parametrize(
    ("script", "kind", "complaint"),
    [
        (_refuse, ModelNotFound, "no model 'lost'"),
        (_answer_before_opening, ProtocolFault, "did not begin with SessionOpened"),
        (lambda stream: stream.opened(session_id=b"another"), ProtocolFault, "another session"),
        (lambda stream: stream.opened(frames=0), ProtocolFault, "a window of nothing"),
        (lambda stream: stream.opened(model(), model("b")), ProtocolFault, "2 models were agreed, 1 were asked for"),
        (lambda stream: stream.opened(model(space=OTHER_SPACE)), SpaceMismatch, "expected was"),
    ],
)
async def test_an_opening_that_fails_says_why(
    server: ScriptedServer, script: Script, kind: type[ReidError], complaint: str
) -> None:
    """Before the caller has a session at all."""
    server.on_stream = script
    async with AsyncReidClient(server.target, expected_space_id=SPACE) as client:
        with pytest.raises(kind, match=complaint):
            async with client.stream():
                pytest.fail("there is no session")


async def test_an_opening_is_repeated_while_the_server_is_not_ready(server: ScriptedServer) -> None:
    """Nothing was sent that could be lost; each attempt is a session of its own."""

    async def warming_up(stream: ServerStream) -> None:
        if len(server.streams) < 3:
            await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "warming up")
        await stream.opened()
        await stream.answer_all()

    server.on_stream = warming_up
    retry = RetryPolicy(attempts=3, first_s=0)
    async with AsyncReidClient(server.target, retry=retry) as client, client.stream() as session:
        await session.finish()
        assert await collect(session) == ([], None)
    assert len(server.streams) == 3


async def test_an_opening_without_an_answer_is_given_up(server: ScriptedServer) -> None:
    """Within the client's time-out."""

    async def silent(stream: ServerStream) -> None:
        await stream.frame()
        await stream.frame()

    server.on_stream = silent
    async with AsyncReidClient(server.target, timeout_s=0.05) as client:
        with pytest.raises(CallTimeout, match=r"not opened within 0\.05 s"):
            async with client.stream():
                pytest.fail("there is no session")


async def test_nobody_there() -> None:
    """The same error as for a call."""
    async with AsyncReidClient("127.0.0.1:1", retry=ONCE) as client:
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
            async with client.stream():
                pytest.fail("there is no session")


async def test_a_server_that_stops_answering_is_given_up(server: ScriptedServer) -> None:
    """A sender that waits for room and an iteration both learn of it."""

    async def stuck(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        await stream.take(1)
        await stream.frame()

    server.on_stream = stuck
    async with AsyncReidClient(server.target) as client, client.stream(answer_timeout_s=0.05) as session:
        await session.send(b"x", BOX)
        with pytest.raises(CallTimeout, match=r"no answer within 0\.05 s"):
            await session.send(b"x", BOX)
        answers, error = await collect(session)
    assert answers == []
    assert isinstance(error, CallTimeout)
    assert error.unanswered == (0,)


async def test_an_idle_session_is_not_given_up(server: ScriptedServer) -> None:
    """A camera may send nothing for hours: the stall check finds no frame that waits, since all were answered."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        assert (await anext(session)).frame_id == 0
        session._answer_timeout_s = 1e-9
        session._check_stall()
        session._answer_timeout_s = 60.0
        await session.send(b"x", BOX)
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == ([1], None)


async def test_an_ended_session_grows_by_nothing_when_it_is_asked_again(server: ScriptedServer) -> None:
    """It raises the same error each time, which would remember every time."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.close()
        depths = []
        for _ in range(3):
            with pytest.raises(SessionEnded) as ended:
                await session.send(b"x", BOX)
            depths.append(len(ended.traceback))
    assert len(set(depths)) == 1


async def test_patience_must_be_some(server: ScriptedServer) -> None:
    """A session without any would end before its first answer."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(InvalidRequest, match="answer_timeout_s must be above 0, not 0"):
            async with client.stream(answer_timeout_s=0):
                pytest.fail("there is no session")
        with pytest.raises(InvalidRequest, match="give_up_after_s must be above 0, not -1"):
            async with client.resuming_stream(give_up_after_s=-1):
                pytest.fail("there is no session")


@pytest.mark.parametrize("window", ["window_frames", "window_bytes"])
async def test_a_window_is_a_number_that_the_contract_holds(server: ScriptedServer, window: str) -> None:
    """Said in our own words."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(InvalidRequest, match=f"{window} must lie in 0 to .* not -1"):
            async with client.stream(**{window: -1}):  # type: ignore[arg-type]
                pytest.fail("there is no session")


async def test_giving_up_a_wait_leaves_the_session_alone(server: ScriptedServer) -> None:
    """Cancelling send or the iteration cancels neither the call nor another frame."""
    go = asyncio.Event()

    async def slow(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        (frame,) = await stream.take(1)
        await go.wait()
        await stream.answer(frame)
        await stream.answer_all()

    server.on_stream = slow
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        waits = [asyncio.create_task(session.send(b"x", BOX)), asyncio.create_task(anext(session))]
        await server.streams[0].arrived.wait()
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        assert all(wait.cancelled() for wait in waits)
        go.set()
        assert await session.send(b"x", BOX) == 1
        await session.finish()
        answers, error = await collect(session)
    assert (frame_ids(answers), error) == ([0, 1], None)


async def test_leaving_the_block_ends_call_and_tasks(server: ScriptedServer) -> None:
    """With frames open and a sender waiting: the server sees the cancellation, and no task is left behind."""
    gone = asyncio.Event()

    async def script(stream: ServerStream) -> None:
        await stream.opened(frames=1)
        try:
            await stream.take(2)
        finally:
            gone.set()

    server.on_stream = script
    async with AsyncReidClient(server.target) as client:
        async with client.stream() as session:
            await session.send(b"x", BOX)
            waiting = asyncio.create_task(session.send(b"x", BOX))
            await server.streams[0].arrived.wait()
        with pytest.raises(SessionEnded, match="closed"):
            await waiting
        await gone.wait()
        await session.close()
        answers, error = await collect(session)
        assert isinstance(error, SessionEnded)
        assert (answers, error.unanswered) == ([], (0,))
    ours = [task for task in asyncio.all_tasks() if "aio_session" in repr(task)]
    assert ours == []


async def test_an_error_in_the_block_ends_the_session(server: ScriptedServer) -> None:
    """The caller's own error comes through as it is."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.stream():
                _ = 1 / 0


async def test_nothing_is_taken_after_finish(server: ScriptedServer) -> None:
    """Also while the last answers are still open."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.finish()
        with pytest.raises(InvalidRequest, match="finished"):
            await session.send(b"x", BOX)


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
    monkeypatch.setattr(aio_session, "MAX_UNREAD", 4)
    async with AsyncReidClient(server.target) as client, client.stream(window_frames=1) as session:
        for _ in range(5):
            await session.send(b"x", BOX)
        with pytest.raises(UnreadAnswers, match="iterate over the session"):
            await session.send(b"x", BOX)
        assert [(await anext(session)).frame_id for _ in range(5)] == [0, 1, 2, 3, 4]
        assert await session.send(b"x", BOX) == 5


async def test_the_servers_refusal_of_the_stream_is_raised_from_the_iteration(server: ScriptedServer) -> None:
    """A protocol fault of ours, as the server sees it."""

    async def script(stream: ServerStream) -> None:
        await stream.opened()
        await stream.context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    server.on_stream = script
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        _, error = await collect(session)
    assert type(error) is CallRejected
    assert error.status is grpc.StatusCode.INVALID_ARGUMENT
