"""How the server ends a session: it drains, fails, breaks its word, or breaks the contract."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import grpc
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallRejected,
    Overloaded,
    ProtocolFault,
    ReidError,
    ServerUnavailable,
    SessionDrained,
    SessionEnded,
)
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from tests.unit.client.samples import BOX, Script, collect, frame_ids
from tests.unit.client.scripted_server import ScriptedServer, ServerStream, result


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
        (_send_a_track, "track_ended, which the contract does not allow here", (0,)),
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
