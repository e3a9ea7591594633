"""A stream that is cut anywhere, or handed to another server, and still answers every frame exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    Ordering,
    OverloadPolicy,
    ReidClient,
    ResumingSession,
    SpaceMismatch,
    StaleEpoch,
    UnreadAnswers,
)
from reidstream_client.session import inbox
from reidstream_engines.fake import FakeEngine, FakeScript, fake_embedding
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_proto.v1 import service_pb2_grpc, session_pb2
from tests.support.harness import JPEG, RawStream, frame, opening, serving, stream_to, until
from tests.support.process import server_process

FRAMES = 200
CUT_STEP = 1 if os.environ.get("EVERY_CUT") else 19
SESSION = bytes(range(16))


@dataclass(slots=True)
class Scissors:
    """Cuts a session's stream when it has carried so many messages, either way; once."""

    session: ResumingSession
    left: int

    def message(self) -> None:
        """A message has gone by."""
        self.left -= 1
        if self.left == 0:
            self.session._session._call.cancel()


def watch(session: ResumingSession, scissors: Scissors) -> None:
    """Count the messages of the session's first stream at its innermost calls."""
    inner = session._session
    write, handle = inner._call.write, inner._handle

    async def counted_write(message: bytes) -> bool:
        done = await write(message)
        scissors.message()
        return done

    def counted_handle(message: object) -> None:
        handle(message)  # type: ignore[arg-type]
        scissors.message()

    inner._call.write = counted_write  # type: ignore[method-assign]
    inner._handle = counted_handle  # type: ignore[method-assign]


def box_of(number: int) -> np.ndarray:
    """A box of its own for each frame, so that an answer of another frame is noticed."""
    return np.array([[number, 5, number + 50, 140]], np.float32)


async def cut_session(client: AsyncReidClient, cut_at: int, ordering: Ordering) -> tuple[list[int], int]:
    """Stream 200 frames through one cut; the ids that were answered, in order, and the epochs that it took."""
    image = parse_encoded(JPEG)
    async with client.resuming_stream(window_frames=16, ordering=ordering) as session:
        assert isinstance(session, ResumingSession)
        watch(session, Scissors(session, cut_at))

        async def send() -> None:
            for number in range(FRAMES):
                await session.send(JPEG, box_of(number))
            await session.finish()

        sending = asyncio.create_task(send())
        answered = []
        async for result in session:
            number = result.frame_id
            expected = fake_embedding(image, PixelBox(x1=number, y1=5, x2=number + 50, y2=140), 32)
            np.testing.assert_array_equal(result.embeddings[0], expected)
            answered.append(number)
        await sending
        return answered, session.epoch


@pytest.mark.parametrize("ordering", Ordering)
async def test_a_stream_cut_at_any_message_answers_every_frame_exactly_once(ordering: Ordering) -> None:
    """At the message boundaries of a 200-frame session: every nineteenth of the 400, or every one (`make cuts`)."""
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        for cut_at in range(1, 2 * FRAMES, CUT_STEP if ordering is Ordering.IN_ORDER else 2 * CUT_STEP):
            answered, epochs = await cut_session(client, cut_at, ordering)
            assert epochs == 1, f"cut at message {cut_at}"
            if ordering is Ordering.AS_COMPLETED:
                answered.sort()
            assert answered == list(range(FRAMES)), f"cut at message {cut_at}"
        await until(lambda: server.runtime.open_sessions == 0)
        await until(lambda: server.runtime.statistics().frames == 0)


async def test_a_restarted_server_gets_what_the_old_one_did_not_answer() -> None:
    """The old server drains and stops; the one that takes its port goes on where it ended."""
    answered: list[int] = []
    async with (
        serving() as first,
        AsyncReidClient(f"127.0.0.1:{first.port}") as client,
        client.resuming_stream(window_frames=8) as session,
    ):
        for number in range(5):
            await session.send(JPEG, box_of(number))
        answered.append((await anext(session)).frame_id)
        await first.drain()
        async with serving(port=first.port):
            for number in range(5, 20):
                await session.send(JPEG, box_of(number))
            await session.finish()
            answered += [result.frame_id async for result in session]
    assert answered == list(range(20))


@pytest.mark.parametrize("policy", [OverloadPolicy.DROP_OLDEST, OverloadPolicy.REJECT])
async def test_frames_that_come_during_an_outage_are_given_up_by_policy(policy: OverloadPolicy) -> None:
    """Nothing waits, nothing grows without bound, and every frame has its answer in its place."""
    slow = FakeEngine(script=FakeScript(seconds_per_batch=0.001))
    async with (
        serving(slow) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(window_frames=4, overload_policy=policy) as session,
    ):
        assert isinstance(session, ResumingSession)
        session._session._call.cancel()
        sent = [await session.send(JPEG, box_of(number)) for number in range(60)]
        await session.finish()
        results = [result async for result in session]
    assert [result.frame_id for result in results] == sent
    assert any(result.error is None for result in results)


async def test_a_newer_epoch_takes_the_session_over_and_an_older_one_is_refused() -> None:
    """Two streams of one session never run beside each other."""
    async with serving() as server, stream_to(server) as old, stream_to(server) as new, stream_to(server) as zombie:
        await old.open(session_id=SESSION)
        opened = await new.open(session_id=SESSION, epoch=3)
        assert (opened.session_id, opened.epoch) == (SESSION, 3)
        status, details = await old.refusal()
        assert (status, "epoch 3" in details) == (grpc.StatusCode.ABORTED, True)
        await zombie.call.write(opening(session_id=SESSION, epoch=2))
        status, details = await zombie.refusal()
        assert (status, "epoch" in details) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        await new.call.write(frame(1))
        assert (await new.result()).frame_id == 1
        assert server.runtime.open_sessions == 1


async def test_a_session_resumes_at_a_server_that_is_full() -> None:
    """In the place of its own: the cut need not have been noticed. Another session gets none, and nor does the old
    stream's end make room for one.
    """
    other = bytes(reversed(SESSION))
    async with serving(max_sessions=1) as server, stream_to(server) as old, stream_to(server) as new:
        await old.open(session_id=SESSION)
        await new.open(session_id=SESSION, epoch=1)
        assert (await old.refusal())[0] == grpc.StatusCode.ABORTED
        await until(lambda: server.embedding.open_streams == 1)
        async with stream_to(server) as foreign:
            await foreign.call.write(opening(session_id=other))
            assert (await foreign.refusal())[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        await new.call.write(frame(1))
        assert (await new.result()).frame_id == 1
        assert server.runtime.open_sessions == 1


async def test_a_stream_that_comes_too_late_is_told_so_and_not_of_another_space() -> None:
    """Both are FAILED_PRECONDITION; the word beside it tells the client which."""
    async with serving() as server, stream_to(server) as new:
        address = f"127.0.0.1:{server.port}"
        async with AsyncReidClient(address) as client, client.resuming_stream() as session:
            await new.open(session_id=session.opened.session_id, epoch=3)
            with pytest.raises(StaleEpoch, match="epoch 3 is open"):
                await anext(session)
        async with AsyncReidClient(address, expected_space_id="1:" + "0" * 64) as other:
            with pytest.raises(SpaceMismatch):
                await other.embed(JPEG, box_of(0))


def test_the_synchronous_client_resumes_too() -> None:
    """A server that is killed and started again on its port costs no frame."""
    with (
        server_process() as (first, address),
        ReidClient(address) as client,
        client.resuming_stream(window_frames=4) as session,
    ):
        session.send(JPEG, box_of(0))
        answered = [next(session).frame_id]
        first.terminate(signal.SIGKILL)
        first.wait()
        with server_process("--port", address.rpartition(":")[2]):
            for number in range(1, 10):
                session.send(JPEG, box_of(number))
            session.finish()
            answered += [result.frame_id for result in session]
    assert answered == list(range(10))


async def an_age_s(streams: int) -> float:
    """Time for so many streams, each with a frame, on this machine as it is now."""
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        began_s = time.monotonic()
        for _ in range(5):
            async with client.stream() as session:
                await session.send(JPEG, box_of(0))
                await anext(session)
        return streams * (time.monotonic() - began_s) / 5


async def test_an_old_stream_is_asked_to_leave_and_its_client_never_notices() -> None:
    """Frame after frame over more ages than streams may fail in a row, each answered exactly once."""
    async with (
        serving(max_connection_age_s=max(0.1, await an_age_s(20))) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(window_frames=4) as session,
    ):
        answered: list[int] = []
        while session.epoch < 8:
            await session.send(JPEG, box_of(len(answered) % 200))
            answered.append((await anext(session)).frame_id)
        await session.finish()
        assert [result async for result in session] == []
    assert answered == list(range(len(answered)))


async def test_a_full_window_at_every_move_is_no_failure() -> None:
    """A camera that is always ahead of the server has as much to send after a stream as before it."""
    async with (
        serving(max_connection_age_s=max(0.1, await an_age_s(20))) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(window_frames=4) as session,
    ):
        assert isinstance(session, ResumingSession)

        async def send() -> int:
            count = 0
            while session.epoch < 8:
                await session.send(JPEG, box_of(count % 200))
                count += 1
            await session.finish()
            return count

        sending = asyncio.create_task(send())
        answered = [result.frame_id async for result in session]
        assert answered == list(range(await sending))


async def test_a_session_that_is_idle_outlives_any_number_of_cuts() -> None:
    """It has lost nothing, so there is nothing to give up."""
    async with (
        serving() as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(window_frames=4) as session,
    ):
        assert isinstance(session, ResumingSession)
        for epoch in range(7):
            await until(lambda epoch=epoch: session.epoch == epoch and not session._session._inbox.ended)
            session._session._call.cancel()
        await session.send(JPEG, box_of(0))
        await session.finish()
        assert [result.frame_id async for result in session] == [0]


async def test_a_resuming_session_whose_answers_nobody_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a plain one, before they fill the memory; with the answers taken it goes on."""
    monkeypatch.setattr(inbox, "MAX_UNREAD", 4)
    async with (
        serving() as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(window_frames=1) as session,
    ):
        for number in range(5):
            assert await session.send(JPEG, box_of(number)) == number
        with pytest.raises(UnreadAnswers, match="iterate over the session"):
            await session.send(JPEG, box_of(5))
        assert [(await anext(session)).frame_id for _ in range(5)] == [0, 1, 2, 3, 4]
        assert await session.send(JPEG, box_of(5)) == 5


async def test_an_old_connection_takes_no_new_calls_before_its_streams_are_asked_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that whoever comes back comes on another connection, and a balancer may choose anew."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)  # as late as a stream may be asked to leave
    async with (
        serving(max_connection_age_s=max(0.3, await an_age_s(100))) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
        await stream.open()
        assert channel.get_state() is grpc.ChannelConnectivity.READY
        reading = asyncio.create_task(stream.read())
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert not reading.done()
        drain = await reading
        assert drain is not None
        assert drain.drain.reason == session_pb2.DRAIN_REASON_CONNECTION_AGE
        assert await stream.read() is None
        assert await stream.call.code() is grpc.StatusCode.OK
