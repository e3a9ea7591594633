"""Tracks that go on at another server: none is lost, none ends twice, and every sum is that of an unbroken session.

Frames are ten seconds apart by the times that they carry, so that no machine is slow enough to change what a policy
decides by time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import (
    AsyncReidClient,
    EmbedAtIntervals,
    EmbeddingDtype,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    EmbedPolicy,
    FrameEmbeddings,
    Outcome,
    ResumingSession,
    SessionEvent,
    SpaceMismatch,
    TrackEndCause,
    TrackEnded,
    TrackOptions,
)
from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from tests.support.harness import JPEG, serving, until
from tests.support.instant_server import InstantServer, instant_server
from tests.support.switch import switch

FRAMES = 120
APART_S = 10.0
WINDOW = 8
CUT_STEP = 1 if os.environ.get("EVERY_CUT") else 23
POLICIES: list[EmbedPolicy] = [
    EmbedEveryFrame(),
    EmbedAtIntervals(frames=4),
    EmbedAtIntervals(seconds=25.0),
    EmbedOnRisk(max_age_s=75.0),
    EmbedOnce(),
]
Tracking = ResumingSession[SessionEvent]


def scene(number: int) -> tuple[npt.NDArray[np.float32], list[int]]:
    """The boxes of a frame and their tracks: two that cross, one that stands still, some that come and go, one that is
    in doubt.
    """
    walk = 4 * (number % 50)
    found = [
        ([5 + walk, 20, 45 + walk, 140], 100 + number // 50),
        ([215 - walk, 30, 255 - walk, 150], 200 + number // 50),
        ([260, 60, 300, 160], 7),
        ([60, 170, 60 + 20 + number % 13, 230], -1),
        ([150, 150, 190, 235], 300 + number // 9 if number % 9 < 6 else -1),
    ]
    if number % 30 < 3:  # for longer than its time-out it is away
        found.append(([10, 160, 40, 236], 9))
    return np.array([box for box, _ in found], np.float32), [track_id for _, track_id in found]


@dataclass(slots=True)
class Seen:
    """What a session gave to its caller."""

    answers: list[FrameEmbeddings] = field(default_factory=list)
    ends: list[TrackEnded] = field(default_factory=list)

    def add(self, event: SessionEvent) -> None:
        if isinstance(event, TrackEnded):
            self.ends.append(event)
        else:
            self.answers.append(event)

    def rows(self) -> list[tuple[int, tuple[Outcome, ...], list[int], list[float], bytes]]:
        """Every answer, bit for bit."""
        return [
            (one.frame_id, one.outcomes, one.source_frame_ids.tolist(), one.quality.tolist(), one.embeddings.tobytes())
            for one in self.answers
        ]

    def tracks(self) -> list[tuple[object, ...]]:
        """Every end, bit for bit."""
        return sorted(
            (
                *(one.track_id, one.first_frame_id, one.last_frame_id, one.cause.name, one.count, one.weight),
                *(b"" if part is None else part.tobytes() for part in (one.total, one.vector, one.representatives)),
                one.representative_frame_ids.tobytes(),
            )
            for one in self.ends
        )


async def stream(session: Tracking, seen: Seen, on_frame: Callable[[int], Awaitable[None]] | None = None) -> None:
    """Send the scene, end some tracks between its frames, and collect what comes."""

    async def read() -> None:
        async for event in session:
            seen.add(event)

    reading = asyncio.create_task(read())
    begun_s = time.monotonic() - FRAMES * APART_S
    for number in range(FRAMES):
        boxes, track_ids = scene(number)
        await session.send(JPEG, boxes, track_ids=track_ids, captured_monotonic=begun_s + number * APART_S)
        if number % 9 == 6:
            await session.end_tracks([300 + number // 9, 12345])
        if on_frame is not None:
            await on_frame(number)
    await session.finish()
    await reading


def options(policy: EmbedPolicy) -> TrackOptions:
    return TrackOptions(embed=policy, timeout_s=150.0, representatives=3)


async def unbroken(policy: EmbedPolicy, dtype: EmbeddingDtype = EmbeddingDtype.FLOAT32) -> Seen:
    """The same by one stream."""
    seen = Seen()
    async with (
        serving() as server,
        AsyncReidClient(f"127.0.0.1:{server.port}", dtype=dtype) as client,
        client.resuming_stream(tracks=options(policy), window_frames=WINDOW) as session,
    ):
        await stream(session, seen)
        assert session.epoch == 0
    return seen


def check(seen: Seen, whole: Seen) -> None:
    """Nothing of a session shows how often it moved."""
    assert [answer.frame_id for answer in seen.answers] == list(range(FRAMES))
    assert seen.rows() == whole.rows()
    assert seen.tracks() == whole.tracks()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
async def test_a_scene_has_tracks_of_every_kind(policy: EmbedPolicy) -> None:
    """What the other tests stand on: some rows are cached, and tracks end by every cause but lack of room."""
    whole = await unbroken(policy)
    cached = sum(int(answer.cached.sum()) for answer in whole.answers)
    assert (cached == 0) is isinstance(policy, EmbedEveryFrame)
    assert {end.cause for end in whole.ends} >= {TrackEndCause.CLIENT, TrackEndCause.TIMEOUT, TrackEndCause.SESSION}
    ids = [end.track_id for end in whole.ends]
    assert set(ids) == {track_id for number in range(FRAMES) for track_id in scene(number)[1]} - {-1}
    assert ids.count(9) == 4


@pytest.mark.parametrize("dtype", EmbeddingDtype)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
async def test_a_session_moves_from_server_to_server(policy: EmbedPolicy, dtype: EmbeddingDtype) -> None:
    """Each is asked to leave under load, and the next one stands at the same address."""
    whole, seen = await unbroken(policy, dtype), Seen()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving()) for _ in range(4)]
        address = await stack.enter_async_context(switch(servers[0].port))
        client = await stack.enter_async_context(AsyncReidClient(f"127.0.0.1:{address.port}", dtype=dtype))
        opening = client.resuming_stream(tracks=options(policy), window_frames=WINDOW)
        session = await stack.enter_async_context(opening)
        draining: list[asyncio.Task[bool]] = []

        async def move(number: int) -> None:
            if number in {30, 61, 92}:
                leaving = servers[len(draining)]
                address.to = servers[len(draining) + 1].port
                draining.append(asyncio.create_task(leaving.drain()))

        await stream(session, seen, move)
        await asyncio.gather(*draining)
        assert session.epoch >= 3
    check(seen, whole)


async def test_sessions_outlive_servers_that_are_killed() -> None:
    """With frames and ends on their way, and nobody left to say anything: a camera for each policy, twice."""
    whole = [await unbroken(policy) for policy in POLICIES]
    async with AsyncExitStack() as stack:

        def start() -> InstantServer:
            return stack_of_processes.enter_context(instant_server(subprocess.DEVNULL))

        stack_of_processes = stack.enter_context(ExitStack())
        servers = await asyncio.gather(*(asyncio.to_thread(start) for _ in range(3)))
        address = await stack.enter_async_context(switch(servers[0].port))
        client = await stack.enter_async_context(AsyncReidClient(f"127.0.0.1:{address.port}"))
        sent = [0] * len(POLICIES)
        killed = 0

        async def camera(index: int) -> Seen:
            async def kill(number: int) -> None:
                nonlocal killed
                sent[index] = number
                if killed < 2 and min(sent) > 40 * (killed + 1):
                    killed += 1
                    address.to = servers[killed].port
                    servers[killed - 1].process.send_signal(signal.SIGKILL)

            seen = Seen()
            async with client.resuming_stream(
                camera_id=f"camera {index}", tracks=options(POLICIES[index]), window_frames=WINDOW
            ) as session:
                await stream(session, seen, kill)
                assert session.epoch >= 1
            return seen

        cameras = await asyncio.gather(*(camera(index) for index in range(len(POLICIES))))
        assert killed == 2
    for camera_seen, expected in zip(cameras, whole, strict=True):
        check(camera_seen, expected)


async def test_a_stream_cut_at_any_message_changes_nothing() -> None:
    """At the message boundaries of the session: some of them, or each one (EVERY_CUT)."""
    policy = EmbedOnRisk(max_age_s=75.0)
    whole = await unbroken(policy)
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        for cut_at in range(1, 2 * FRAMES + 20, CUT_STEP):
            seen = Seen()
            async with client.resuming_stream(tracks=options(policy), window_frames=WINDOW) as session:
                cut_after(session, cut_at)
                await stream(session, seen)
                assert session.epoch == 1, f"cut at message {cut_at}"
            assert seen.rows() == whole.rows(), f"cut at message {cut_at}"
            assert seen.tracks() == whole.tracks(), f"cut at message {cut_at}"
        await until(lambda: server.runtime.open_sessions == 0)


def cut_after(session: Tracking, messages: int) -> None:
    """Cut the session's first stream when so many messages have gone by, either way."""
    inner, left = session._session, messages
    write, handle = inner._call.write, inner._handle

    def counted() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            inner._call.cancel()

    async def counted_write(message: bytes) -> bool:
        done = await write(message)
        counted()
        return done

    def counted_handle(message: object) -> None:
        handle(message)  # type: ignore[arg-type]
        counted()

    inner._call.write = counted_write  # type: ignore[method-assign]
    inner._handle = counted_handle  # type: ignore[method-assign]


async def test_an_old_connection_moves_its_tracks() -> None:
    """Asked to leave again and again, with and without frames on their way."""
    policy = EmbedOnRisk(max_age_s=75.0)
    whole, seen = await unbroken(policy), Seen()
    async with (
        serving(max_connection_age_s=0.3) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(tracks=options(policy), window_frames=WINDOW) as session,
    ):

        async def age(number: int) -> None:
            if number % 30 == 29:
                before = session.epoch
                await until(lambda: session.epoch > before)

        await stream(session, seen, age)
        assert session.epoch >= 4
    check(seen, whole)


async def test_hundreds_of_tracks_move() -> None:
    """As many as a session may have, of a large model: 12 MB in the first message to the next server."""
    half = 256
    places = [[x, y, x + 20, y + 30] for x in range(0, 300, 10) for y in range(0, 200, 10)]
    scenes = [(places[: 2 * half : 2], np.arange(half)), (places[1 : 2 * half : 2], np.arange(half, 2 * half))]
    async with (
        serving(FakeEngine(fake_spec(dim=2048))) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.resuming_stream(tracks=TrackOptions(embed=EmbedOnce(), representatives=3)) as session,
    ):
        answers: list[FrameEmbeddings] = []
        for moved in (False, True):
            for boxes, track_ids in scenes:
                await session.send(JPEG, boxes, track_ids=track_ids)
                answer = await anext(session)
                assert isinstance(answer, FrameEmbeddings)
                assert answer.cached.all() == moved
                answers.append(answer)
            session._session._call.cancel()
        await session.finish()
        ends = [event async for event in session if isinstance(event, TrackEnded)]
        assert session.epoch == 2
    assert [answer.embeddings.tobytes() for answer in answers[2:]] == [one.embeddings.tobytes() for one in answers[:2]]
    assert sorted(end.track_id for end in ends) == list(range(2 * half))
    assert {(end.count, end.last_frame_id - end.first_frame_id) for end in ends} == {(1, 2)}


async def test_tracks_do_not_go_on_in_another_space() -> None:
    """The next server has other weights: the session ends, as one without tracks does."""
    other = FakeEngine(fake_spec(dim=16))
    async with (
        serving() as first,
        serving(other) as second,
        switch(first.port) as address,
        AsyncReidClient(f"127.0.0.1:{address.port}") as client,
        client.resuming_stream(tracks=options(EmbedOnce())) as session,
    ):
        await session.send(JPEG, [[10, 10, 60, 120]], track_ids=[7])
        await anext(session)
        address.to = second.port
        address.cut()
        with pytest.raises(SpaceMismatch):
            await anext(session)


async def test_many_sessions_move_at_once() -> None:
    """Eight cameras, and a server that is slow enough for all of them to have frames on their way when it leaves."""
    policy = EmbedOnRisk(max_age_s=75.0)
    whole = await unbroken(policy)
    slow = FakeEngine(script=FakeScript(seconds_per_batch=0.002))
    async with AsyncExitStack() as stack:
        first, second = await stack.enter_async_context(serving(slow)), await stack.enter_async_context(serving())
        address = await stack.enter_async_context(switch(first.port))
        client = await stack.enter_async_context(AsyncReidClient(f"127.0.0.1:{address.port}"))

        async def camera(index: int) -> Seen:
            seen = Seen()
            async with client.resuming_stream(
                camera_id=f"camera {index}", tracks=options(policy), window_frames=WINDOW
            ) as session:
                await stream(session, seen)
                assert session.epoch >= 1
            return seen

        cameras = [asyncio.create_task(camera(index)) for index in range(8)]
        await until(lambda: first.runtime.open_sessions == 8)
        address.to = second.port
        await asyncio.gather(first.drain(), *cameras)
    for camera_seen in cameras:
        check(camera_seen.result(), whole)
