"""How the caller ends a session, gives up waiting, or waits in vain."""

from __future__ import annotations

import asyncio

import pytest

from reidstream_client import AsyncReidClient, CallTimeout, InvalidRequest, SessionEnded
from reidstream_client.session import endings
from reidstream_client.session.endings import GOODBYE_S
from reidstream_client.testing import FakeServer
from reidstream_client.testing.connection import FakeCall
from reidstream_proto.v1 import service_pb2
from tests.support.clock import Clock
from tests.support.patience import HANG_S
from tests.unit.client.samples import BOX, collect, frame_ids
from tests.unit.client.scripted_server import ScriptedServer, ServerStream


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
        session._look()
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
    ours = [task for task in asyncio.all_tasks() if "reidstream_client" in repr(task)]
    assert ours == []


def _watch(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the client of a fake server tells it at the end, as it comes."""
    told: list[str] = []
    hub = server._hub
    message, half_closed, cancelled = hub.message, hub.half_closed, hub.cancelled

    def seen(call: FakeCall, request: service_pb2.EmbedStreamRequest) -> None:
        told.append(request.WhichOneof("message") or "")
        message(call, request)

    def seen_half_closing(call: FakeCall) -> None:
        told.append("half-close")
        half_closed(call)

    def seen_cancelling(call: FakeCall) -> None:
        told.append("cancel")
        cancelled(call)

    monkeypatch.setattr(hub, "message", seen)
    monkeypatch.setattr(hub, "half_closed", seen_half_closing)
    monkeypatch.setattr(hub, "cancelled", seen_cancelling)
    return told


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
async def test_leaving_the_block_is_told_to_a_server_that_takes_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it does not take the client for lost; the answers that still come are nobody's."""
    with FakeServer() as server:
        told = _watch(server, monkeypatch)
        server.hold()
        async with server.async_client() as client:
            async with getattr(client, kind)() as session:
                assert session.opened.takes_close
                await session.send(b"x", BOX)
                await server.async_wait_for_frames(1)
            with pytest.raises(SessionEnded, match="closed") as caught:
                await anext(session)
            assert caught.value.unanswered == (0,)
    assert told == ["session_open", "frame", "close"]


async def test_answers_that_cross_the_farewell_are_read_over(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They came too late to be wanted, and are no reason to break off: the server ends the call by itself."""
    monkeypatch.setattr(endings, "GOODBYE_S", HANG_S)
    ended: list[str] = []

    async def crossing(stream: ServerStream) -> None:
        await stream.opened(takes_close=True)
        frames = await stream.take(2)
        await stream.context.read()
        try:
            for frame in frames:
                await stream.answer(frame)
            await asyncio.sleep(0.05)  # a client that breaks off has done it by now
            ended.append("by itself")
        except asyncio.CancelledError:
            ended.append("broken off")
            raise

    server.on_stream = crossing
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        await session.send(b"x", BOX)
        await session.close()
        answers, error = await collect(session)
    assert ended == ["by itself"]
    assert answers == []
    assert error is not None
    assert error.unanswered == (0, 1)


async def test_after_finish_the_client_waits_for_the_servers_end_a_moment(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """It can say no more; if the end does not come, it goes."""
    with FakeServer() as server:
        told = _watch(server, monkeypatch)
        async with server.async_client() as client:
            async with client.stream() as session:
                await session.send(b"x", BOX)
                await session.finish()
                await server.async_wait_for_frames(1)
            server.hold()
            async with client.stream() as session:
                await session.send(b"x", BOX)
                await session.finish()
                await server.async_wait_for_frames(2)
                leaving = asyncio.create_task(session.close())
                await clock.turn_on(GOODBYE_S / 2)
                assert not leaving.done()
                await clock.turn_on(GOODBYE_S)
                await leaving
    assert told == [*["session_open", "frame", "half-close"] * 2, "cancel"]


async def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """It owes answers for longer than they were good for: it would not hear."""
    with FakeServer() as server:
        told = _watch(server, monkeypatch)
        server.hold()
        async with server.async_client(latency_budget_s=10) as client, client.stream() as session:
            await session.send(b"x", BOX)
            await clock.turn_on(20)
            await anext(session)
    assert told == ["session_open", "frame", "cancel"]


async def test_an_older_server_is_told_nothing_that_it_does_not_know(server: ScriptedServer) -> None:
    """It would take Close for a fault of the protocol; the call is cancelled, as ever."""
    seen: list[object] = []
    gone = asyncio.Event()

    async def older(stream: ServerStream) -> None:
        await stream.opened()
        try:
            seen.append(await stream.frame())
            seen.append(await stream.frame())
        finally:
            gone.set()

    server.on_stream = older
    async with AsyncReidClient(server.target) as client:
        async with client.stream() as session:
            assert not session.opened.takes_close
            await session.send(b"x", BOX)
            await server.streams[0].arrived.wait()
        await gone.wait()
    assert len([message for message in seen if message is not None]) == 1  # None: the end, however it came


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
