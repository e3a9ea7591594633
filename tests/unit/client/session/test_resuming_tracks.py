"""Tracks over as many streams as it takes: each ends exactly once, and its sum is that of an unbroken session.

The fake server stands for all servers: it remembers nothing of a stream that is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import (
    AsyncReidClient,
    EmbedAtIntervals,
    EmbeddingDtype,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedPolicy,
    FrameEmbeddings,
    Outcome,
    OverloadPolicy,
    ReidError,
    ResumingSession,
    RetryPolicy,
    SessionEvent,
    SpaceMismatch,
    TrackEndCause,
    TrackEnded,
    TrackOptions,
)
from reidstream_client.testing import FakeServer, ReceivedBox, ReceivedFrame
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2
from tests.support.clock import Clock, settle
from tests.unit.client.samples import BOX
from tests.unit.client.scripted_server import DIM, ScriptedServer, ServerStream, block, f32, result
from tests.unit.client.session.test_tracks import AGREED, the_end

FRAMES = 40
FRAME = np.zeros((40, 60, 3), np.uint8)
OFTEN = RetryPolicy(first_s=0.01)
Tracking = ResumingSession[SessionEvent]


def row(frame: ReceivedFrame, box: ReceivedBox) -> npt.ArrayLike:
    """Another one for each frame and track."""
    return np.random.default_rng([frame.frame_id, box.track_id or 0]).standard_normal(16)


@dataclass(slots=True)
class Seen:
    """What came out of a session."""

    answers: list[FrameEmbeddings] = field(default_factory=list)
    ends: list[TrackEnded] = field(default_factory=list)

    def sums(self) -> list[tuple[object, ...]]:
        """Every track as its end tells it, bit for bit."""
        return sorted(
            (one.track_id, one.first_frame_id, one.last_frame_id, one.count, one.weight, one.cause.name, _bits(one))
            for one in self.ends
        )

    def rows(self) -> list[tuple[int, tuple[Outcome, ...], list[int], bytes]]:
        """Every answer, bit for bit."""
        return [
            (one.frame_id, one.outcomes, one.source_frame_ids.tolist(), one.embeddings.tobytes())
            for one in self.answers
        ]


def _bits(end: TrackEnded) -> tuple[bytes, ...]:
    arrays = (end.total, end.vector, end.representatives, end.representative_frame_ids)
    return tuple(b"" if array is None else array.tobytes() for array in arrays)


async def walk(session: Tracking, seen: Seen, disturb: Callable[[int], None]) -> None:
    """Forty frames with three tracks at a time; each is ended after seven frames, and its id begins another one."""

    async def read() -> None:
        async for event in session:
            if isinstance(event, TrackEnded):
                seen.ends.append(event)
            else:
                seen.answers.append(event)

    reading = asyncio.create_task(read())
    for number in range(FRAMES):
        await session.send(FRAME, [[1, 2, 30, 39]] * 3, track_ids=[number % 2, 5, 6])
        if number % 7 == 6:
            await session.end_tracks([5, 77])
        disturb(number)
        await settle()
    await session.finish()
    await reading


@asynccontextmanager
async def a_session(policy: EmbedPolicy, dtype: EmbeddingDtype) -> AsyncIterator[tuple[FakeServer, Tracking]]:
    tracks = TrackOptions(embed=policy, timeout_s=60.0, representatives=3)
    with FakeServer(dim=16, embed=row, window_frames=4) as server:
        async with (
            server.async_client(dtype=dtype, retry=OFTEN) as client,
            client.resuming_stream(tracks=tracks) as session,
        ):
            yield server, session


@pytest.mark.parametrize("dtype", EmbeddingDtype)
@pytest.mark.parametrize(
    "policy", [EmbedEveryFrame(), EmbedAtIntervals(frames=3), EmbedOnce()], ids=lambda policy: type(policy).__name__
)
async def test_a_disturbed_session_is_an_unbroken_one_to_its_caller(policy: EmbedPolicy, dtype: EmbeddingDtype) -> None:
    """Cut and drained, with answers held back and without: the same rows, and the same tracks, each once."""
    async with a_session(policy, dtype) as (_, session):
        whole = Seen()
        await walk(session, whole, lambda _: None)
        assert session.epoch == 0
    async with a_session(policy, dtype) as (server, session):

        def disturb(number: int) -> None:
            match number % 6:
                case 1:
                    server.hold()
                case 3 if number % 4 == 1:
                    server.drain()
                    server.release()
                case 3:
                    server.cut()
                    server.release()

        broken = Seen()
        await walk(session, broken, disturb)
        assert session.epoch > 4
        assert any(opened.open_tracks for opened in server.sessions)
    assert broken.rows() == whole.rows()
    assert broken.sums() == whole.sums()
    assert len(whole.ends) == FRAMES // 7 + 4


async def test_an_end_that_was_lost_with_its_stream_comes_from_the_next_server() -> None:
    """The server had read it, and held its answer back: nobody knows whether it was told."""
    async with a_session(EmbedOnce(), EmbeddingDtype.FLOAT32) as (server, session):
        await session.send(FRAME, BOX, track_ids=[7])
        first = await anext(session)
        assert isinstance(first, FrameEmbeddings)
        server.hold()
        await session.send(FRAME, BOX, track_ids=[7])
        await session.end_tracks([7])
        await session.send(FRAME, BOX, track_ids=[7])
        await server.async_wait_for_frames(3)
        server.cut()
        server.release()
        await session.finish()
        events = [event async for event in session]
    assert [event.frame_id if isinstance(event, FrameEmbeddings) else event.cause.name for event in events] == [
        *(1, "CLIENT", 2, "SESSION")
    ]
    cached, ended, new, last = events
    assert isinstance(cached, FrameEmbeddings)
    assert (cached.embeddings == first.embeddings).all()
    assert cached.source_frame_ids.tolist() == [0]
    assert isinstance(new, FrameEmbeddings)
    assert new.outcomes == (Outcome.EMBEDDED,)
    assert isinstance(ended, TrackEnded)
    assert isinstance(last, TrackEnded)
    assert (ended.count, ended.first_frame_id, ended.last_frame_id) == (1, 0, 1)
    assert (last.count, last.first_frame_id, last.last_frame_id) == (1, 2, 2)
    assert server.sessions[1].open_tracks == (7,)


async def test_open_tracks_alone_are_worth_another_stream() -> None:
    """All frames are answered and no more will come; the tracks still have to end, once each."""
    async with a_session(EmbedOnce(), EmbeddingDtype.FLOAT32) as (server, session):
        await session.send(FRAME, [[1, 2, 30, 39]] * 2, track_ids=[7, 8])
        await anext(session)
        server.cut()
        await session.finish()
        ends = [event async for event in session]
        assert session.epoch == 1
    assert sorted((end.track_id, end.cause) for end in ends if isinstance(end, TrackEnded)) == [
        (7, TrackEndCause.SESSION),
        (8, TrackEndCause.SESSION),
    ]


async def test_a_track_that_timed_out_is_not_carried_on() -> None:
    """Its end was told."""
    async with a_session(EmbedOnce(), EmbeddingDtype.FLOAT32) as (server, session):
        await session.send(FRAME, [[1, 2, 30, 39]] * 2, track_ids=[7, 8])
        await anext(session)
        server.time_out_tracks(7)
        end = await anext(session)
        assert isinstance(end, TrackEnded)
        assert (end.track_id, end.cause) == (7, TrackEndCause.TIMEOUT)
        server.cut()
        await session.send(FRAME, [[1, 2, 30, 39]], track_ids=[7])
        answer = await anext(session)
        assert isinstance(answer, FrameEmbeddings)
        assert answer.outcomes == (Outcome.EMBEDDED,)
    assert [opened.open_tracks for opened in server.sessions] == [(), (8,)]


async def test_tracks_do_not_go_on_in_another_space() -> None:
    """A session of many streams ends there, with or without tracks."""
    async with a_session(EmbedOnce(), EmbeddingDtype.FLOAT32) as (server, session):
        await session.send(FRAME, BOX, track_ids=[7])
        await anext(session)
        server.change_space("1:" + "0" * 64)
        server.cut()
        with pytest.raises(SpaceMismatch):
            await anext(session)


async def test_a_frame_that_was_given_up_counts_if_the_server_had_it(clock: Clock) -> None:
    """Its row is in the sum, and goes along to the next server, though the caller was told OVER_BUDGET. A frame that
    the server lost with its stream is in no sum.
    """
    tracks = TrackOptions(timeout_s=3600.0)
    with FakeServer(dim=16, embed=row) as server:
        async with (
            server.async_client(latency_budget_s=10.0, retry=OFTEN) as client,
            client.resuming_stream(tracks=tracks, budget_grace_s=1.0) as session,
        ):
            server.hold()
            await session.send(FRAME, BOX, track_ids=[7])
            await server.async_wait_for_frames(1)
            await clock.turn_on(12)
            late = await anext(session)
            assert isinstance(late, FrameEmbeddings)
            assert late.local
            server.release()
            await settle()
            server.hold()
            await session.send(FRAME, BOX, track_ids=[7])
            await server.async_wait_for_frames(2)
            await clock.turn_on(12)
            server.cut()
            server.release()
            await session.send(FRAME, BOX, track_ids=[7])
            await session.finish()
            events = [event async for event in session]
    assert [event.frame_id for event in events if isinstance(event, FrameEmbeddings)] == [1, 2]
    (end,) = [event for event in events if isinstance(event, TrackEnded)]
    assert (end.first_frame_id, end.last_frame_id, end.count) == (0, 2, 2)
    assert server.sessions[-1].open_tracks == (7,)


async def said_by(stream: ServerStream, until_frame: int) -> list[object]:
    """Frames and ends as they come, up to a frame."""
    said: list[object] = []
    while until_frame not in said:
        request = await stream.context.read()
        if request.HasField("end_tracks"):
            said.append([*request.end_tracks.track_ids])
        else:
            said.append(request.frame.frame_id)
    return said


def with_snapshot(frame_id: int, track_id: int) -> frame_pb2.FrameResult:
    """A right answer to a frame of one box, with a new row of its track."""
    answer = result(frame_pb2.Frame(frame_id=frame_id, boxes=[image_pb2.Box()]))
    answer.tracks.add(
        track_id=track_id,
        sum=block("scripted", f32([[3] * DIM])),
        weight=1.5,
        count=3,
        first_frame_id=frame_id,
        last_frame_id=frame_id,
        kept=block("scripted", f32([[2] * DIM])),
        kept_frame_ids=[frame_id],
        kept_weights=[0.5],
    )
    return answer


async def test_what_is_not_confirmed_is_said_again_at_its_place(server: ScriptedServer) -> None:
    """On the first stream 0 and 1 are answered, and the end behind 0 is confirmed. On the second one 2 and 3 are sent
    again, with the ends behind 1 and 2 at their places; the tracks of before are told as old as they are.
    """
    said: list[list[object]] = []
    opened: list[session_pb2.TrackOptions] = []

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        opened.append(stream.open.track_options)
        said.append(await said_by(stream, 3))
        if stream.open.epoch:
            for frame_id, track_id in ((2, 7), (3, 8)):
                await stream.answer(with_snapshot(frame_id, track_id))
            for track_id in (6, 7, 8):
                await stream.write(the_end(track_id, last_frame_id=9, cause=TrackEndCause.SESSION))
            return
        await stream.answer(with_snapshot(0, 5))
        await stream.write(the_end(5))
        await stream.answer(with_snapshot(1, 6))
        await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    server.on_stream = script
    tracks = TrackOptions(timeout_s=60.0)
    async with (
        AsyncReidClient(server.target, retry=OFTEN) as client,
        client.resuming_stream(tracks=tracks) as session,
    ):
        for number, track_id in enumerate((5, 6, 7, 8)):
            await session.send(FRAME, BOX, track_ids=[track_id], captured_monotonic=0.0 if number else None)
            await session.end_tracks([5 + number])
        await session.finish()
        events = [event async for event in session]
    assert [event.frame_id for event in events if isinstance(event, FrameEmbeddings)] == [0, 1, 2, 3]
    assert said == [[0, [5], 1, [6], 2, [7], 3], [[6], 2, [7], 3]]
    assert (opened[0].snapshots, len(opened[0].open_tracks)) == (True, 0)
    (carried,) = opened[1].open_tracks
    assert (carried.track_id, carried.count, carried.weight, [*carried.kept_frame_ids]) == (6, 3, 1.5, [1])
    assert np.frombuffer(carried.latest.data, "<f4").tolist() == [1, 0, 0, 0]
    assert carried.latest_age_ns == carried.last_age_ns > 10**9


async def test_an_end_behind_a_frame_that_waits_is_not_overtaken() -> None:
    """While there is no stream, frames and ends are kept in the order in which they were given."""
    async with a_session(EmbedEveryFrame(), EmbeddingDtype.FLOAT32) as (server, session):
        await session.send(FRAME, BOX, track_ids=[7])
        await anext(session)
        server.unavailable(attempts=3)
        server.cut()
        for _ in range(3):
            await session.send(FRAME, BOX, track_ids=[7])
            await session.end_tracks([7])
        await session.finish()
        events = [event async for event in session]
    told = [
        event.frame_id if isinstance(event, FrameEmbeddings) else (event.cause.name, event.count) for event in events
    ]
    assert told == [1, ("CLIENT", 2), 2, ("CLIENT", 1), 3, ("CLIENT", 1)]


@pytest.mark.parametrize("policy", [OverloadPolicy.DROP_OLDEST, OverloadPolicy.REJECT])
async def test_frames_that_the_client_drops_are_in_no_track(policy: OverloadPolicy) -> None:
    """They were never sent: the track goes on without them, and ends once."""
    tracks = TrackOptions(timeout_s=60.0)
    with FakeServer(dim=16, embed=row, window_frames=2) as server:
        async with (
            server.async_client(retry=OFTEN) as client,
            client.resuming_stream(tracks=tracks, overload_policy=policy) as session,
        ):
            server.hold()
            for _ in range(20):
                await session.send(FRAME, BOX, track_ids=[7])
            await server.async_wait_for_frames(2)
            await session.end_tracks([7])
            server.cut()
            server.release()
            await session.finish()
            events = [event async for event in session]
    answers = [event for event in events if isinstance(event, FrameEmbeddings)]
    assert [answer.frame_id for answer in answers] == [*range(20)]
    (end,) = [event for event in events if isinstance(event, TrackEnded)]
    assert end.count == sum(int(answer.valid.sum()) for answer in answers) < 20
    assert end.cause is TrackEndCause.CLIENT


async def test_a_session_whose_tracks_never_end_is_given_up(server: ScriptedServer) -> None:
    """A server that ends its streams and tells of no end is no success, however often it does so."""

    async def script(stream: ServerStream) -> None:
        await stream.opened(tracks=AGREED)
        if not stream.open.epoch:
            await said_by(stream, 0)
            await stream.answer(with_snapshot(0, 7))
        await stream.frame()

    server.on_stream = script
    async with (
        AsyncReidClient(server.target, retry=OFTEN) as client,
        client.resuming_stream(tracks=TrackOptions(), give_up_after_s=0.5) as session,
    ):
        await session.send(FRAME, BOX, track_ids=[7])
        await session.finish()
        assert isinstance(await anext(session), FrameEmbeddings)
        with pytest.raises(ReidError, match="tracks that have not ended: 1"):
            await anext(session)
