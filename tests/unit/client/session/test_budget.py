"""A latency budget is kept by the client where the server says nothing: on any stream, under any policy, anywhere.

The fake server holds its answers, which looks like a server that is frozen. Time passes when a test says so: the event
loop and the client read the same clock, and that is turned on.
"""

from __future__ import annotations

import asyncio
import tracemalloc

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallTimeout,
    ErrorReason,
    FrameEmbeddings,
    Ordering,
    OverloadPolicy,
    ReidError,
    ResumingSession,
    RetryPolicy,
)
from reidstream_client.session.alarm import Alarm
from reidstream_client.testing import FakeServer
from tests.support.clock import Clock, settle

BUDGET_S, GRACE_S = 10.0, 5.0
WINDOW = 2
FRAME = np.zeros((40, 60, 3), np.uint8)
BOX = [[1, 2, 30, 39]]
OFTEN = RetryPolicy(first_s=0.01)

Session = AsyncSession | ResumingSession

KINDS = pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
POLICIES = pytest.mark.parametrize("policy", OverloadPolicy)


def client_of(server: FakeServer, budget_s: float | None = BUDGET_S) -> AsyncReidClient:
    return server.async_client(latency_budget_s=budget_s, retry=OFTEN)


def said(answers: list[FrameEmbeddings]) -> list[tuple[ErrorReason | None, bool]]:
    return [(answer.error.reason if answer.error else None, answer.local) for answer in answers]


async def send(session: Session, count: int) -> list[int]:
    return [await session.send(FRAME, BOX) for _ in range(count)]


async def take(session: Session, count: int) -> list[FrameEmbeddings]:
    return [await anext(session) for _ in range(count)]


OVER = (ErrorReason.OVER_BUDGET, True)


@KINDS
@POLICIES
async def test_a_silent_server_leaves_no_frame_without_an_answer(
    kind: str, policy: OverloadPolicy, clock: Clock
) -> None:
    """Sent, held back or waiting for room: each has its answer at budget plus grace, in order, exactly once."""
    with FakeServer(window_frames=WINDOW) as server:
        server.hold()
        options = {"overload_policy": policy, "budget_grace_s": GRACE_S}
        async with client_of(server) as client, getattr(client, kind)(**options) as session:
            sending = asyncio.create_task(send(session, 7))
            await clock.turn_on(BUDGET_S + GRACE_S / 2)
            answers = session.take()
            assert OVER not in said(answers)
            sent = await clock.until_done(sending, BUDGET_S + GRACE_S)
            await clock.turn_on(BUDGET_S + GRACE_S)
            answers += session.take()
            assert [answer.frame_id for answer in answers] == sent
            assert all(answer.local and answer.error is not None for answer in answers)
            (error, *_) = [a.error for a in answers if a.error and a.error.reason is ErrorReason.OVER_BUDGET]
            assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert f"its latency budget is {BUDGET_S} s" in error.message
            assert answers[0].embeddings.shape == (1, 8)


@KINDS
async def test_an_answer_that_comes_too_late_is_dropped(kind: str, clock: Clock) -> None:
    """The server wakes up: its old answers are nobody's, its new ones are good, and no frame has two."""
    with FakeServer(window_frames=WINDOW) as server:
        server.hold()
        async with client_of(server) as client, getattr(client, kind)(budget_grace_s=GRACE_S) as session:
            await send(session, WINDOW)
            await clock.turn_on(BUDGET_S + GRACE_S)
            assert said(session.take()) == [OVER] * WINDOW
            assert session.statistics().window_frames == WINDOW
            server.release()
            await settle()
            assert session.statistics().window_frames == 0
            await send(session, 1)
            await session.finish()
            answers = [answer async for answer in session]
    assert [answer.frame_id for answer in answers] == [WINDOW]
    assert said(answers) == [(None, False)]


@POLICIES
async def test_a_late_frame_keeps_its_place_in_the_window(policy: OverloadPolicy, clock: Clock) -> None:
    """The server may still have it, so a stream never has more frames at the server than were agreed."""
    with FakeServer(window_frames=WINDOW) as server:
        server.hold()
        options = {"overload_policy": policy, "budget_grace_s": GRACE_S}
        async with client_of(server) as client, client.stream(**options) as session:  # type: ignore[call-overload]
            await clock.until_done(asyncio.create_task(send(session, 3 * WINDOW)), BUDGET_S + GRACE_S)
            await clock.turn_on(BUDGET_S + GRACE_S)
            assert len(session.take()) == 3 * WINDOW
            assert len(server.frames) == WINDOW


@KINDS
async def test_a_frame_that_is_too_old_is_not_sent(kind: str) -> None:
    """The server could only refuse it."""
    with FakeServer() as server:
        async with client_of(server, 600) as client, getattr(client, kind)() as session:
            await session.send(FRAME, BOX, age_s=601)
            await session.send(FRAME, BOX)
            await session.finish()
            assert said([answer async for answer in session]) == [OVER, (None, False)]
        assert [frame.frame_id for frame in server.frames] == [1]


@KINDS
async def test_completed_frames_do_not_wait_for_a_late_one(kind: str, clock: Clock) -> None:
    """In the order of completion an answer that the client gives overtakes."""
    with FakeServer() as server:
        server.hold()
        options = {"ordering": Ordering.AS_COMPLETED, "budget_grace_s": GRACE_S}
        async with client_of(server) as client, getattr(client, kind)(**options) as session:
            await session.send(FRAME, BOX)
            await session.send(FRAME, BOX, age_s=BUDGET_S / 2)
            await clock.turn_on(BUDGET_S / 2 + GRACE_S)
            assert [answer.frame_id for answer in session.take()] == [1]
            server.release()
            assert said([await anext(session)]) == [(None, False)]


@KINDS
async def test_a_finished_session_does_not_wait_for_a_silent_server(kind: str, clock: Clock) -> None:
    """All is answered, before or after it has finished; what the server still owes would be dropped."""
    with FakeServer() as server:
        server.hold()
        for late_first in (False, True):
            async with client_of(server) as client, getattr(client, kind)(budget_grace_s=GRACE_S) as session:
                await send(session, 3)
                if late_first:
                    await clock.turn_on(BUDGET_S + GRACE_S)
                await session.finish()
                await clock.turn_on(BUDGET_S + GRACE_S)
                assert said([answer async for answer in session]) == [OVER] * 3


@POLICIES
async def test_frames_are_answered_while_there_is_no_stream(policy: OverloadPolicy, clock: Clock) -> None:
    """The server is away: `send` is answered as ever, and a session that has finished ends without it."""
    with FakeServer(window_frames=WINDOW) as server:
        options = {"overload_policy": policy, "budget_grace_s": GRACE_S, "give_up_after_s": 1e6}
        async with client_of(server) as client, client.resuming_stream(**options) as session:  # type: ignore[call-overload]
            server.unavailable(1 << 30)
            server.cut()
            sent = await clock.until_done(asyncio.create_task(send(session, 3 * WINDOW)), BUDGET_S + GRACE_S)
            await clock.turn_on(BUDGET_S + GRACE_S)
            answers = session.take()
            await session.finish()
            assert [answer async for answer in session] == []
    assert [answer.frame_id for answer in answers] == sent
    assert OVER in said(answers)
    assert server.frames == ()


async def test_what_became_too_old_during_a_cut_is_not_sent_again(clock: Clock) -> None:
    """Only frames that can still be of use go to the next stream, although the other one's grace is not over."""
    with FakeServer() as server:
        server.hold()
        async with client_of(server) as client, client.resuming_stream(budget_grace_s=GRACE_S) as session:
            await session.send(FRAME, BOX, age_s=BUDGET_S / 2)
            await session.send(FRAME, BOX)
            await server.async_wait_for_frames(2)
            clock.ahead_s += BUDGET_S / 2
            server.cut()
            server.release()
            assert said(await take(session, 2)) == [OVER, (None, False)]
            assert session.epoch == 1
    assert [frame.frame_id for frame in server.frames] == [0, 1, 1]


@pytest.mark.parametrize("away", [False, True], ids=["silent", "away"])
@pytest.mark.parametrize("policy", [OverloadPolicy.DROP_OLDEST, OverloadPolicy.REJECT])
async def test_frames_that_were_given_up_are_not_kept(policy: OverloadPolicy, away: bool) -> None:  # noqa: FBT001
    """In order, and without any budget: their answers wait for their turn, and their pictures are forgotten."""
    picture = np.zeros((512, 1024), np.uint8)
    held = []
    with FakeServer(window_frames=WINDOW) as server:
        server.hold()
        async with client_of(server, None) as client, client.resuming_stream(overload_policy=policy) as session:
            await session.send(picture, BOX)
            await server.async_wait_for_frames(1)
            if away:
                server.unavailable(1 << 30)
                server.cut()
            tracemalloc.start()
            try:
                for _ in range(40):
                    await session.send(picture, BOX)
                    await settle()
                    held.append(tracemalloc.get_traced_memory()[0])
            finally:
                tracemalloc.stop()
    assert max(held) < (3 * WINDOW + 2) * picture.nbytes


@KINDS
async def test_a_server_that_owes_answers_for_too_long_ends_its_stream(kind: str, clock: Clock) -> None:
    """Even if the client has answered all of them by itself: such a server must not be fed for ever."""
    with FakeServer() as server:
        server.hold()
        options = {"budget_grace_s": GRACE_S, "answer_timeout_s": 3 * BUDGET_S}
        async with client_of(server) as client, getattr(client, kind)(**options) as session:
            await send(session, 1)
            await clock.turn_on(BUDGET_S + GRACE_S)
            assert said(session.take()) == [OVER]
            await clock.turn_on(BUDGET_S)
            assert len(server.sessions) == 1
            await clock.turn_on(BUDGET_S)
            if isinstance(session, ResumingSession):
                server.release()
                await send(session, 1)
                assert said(await take(session, 1)) == [(None, False)]
                assert session.epoch == 1
                return
            with pytest.raises(CallTimeout, match=r"no answer within 30\.0 s") as caught:
                await anext(session)
            assert caught.value.unanswered == ()


async def test_an_error_still_names_what_nobody_answered(clock: Clock) -> None:
    """Frames within their budget, when the session ends for good."""
    with FakeServer() as server:
        server.hold()
        async with client_of(server) as client, client.stream(budget_grace_s=GRACE_S) as session:
            await session.send(FRAME, BOX, age_s=BUDGET_S / 2)
            await session.send(FRAME, BOX)
            await clock.turn_on(BUDGET_S / 2 + GRACE_S)
            server.cut()
            assert said(await take(session, 1)) == [OVER]
            with pytest.raises(ReidError) as caught:
                await anext(session)
    assert caught.value.unanswered == (1,)


@KINDS
@pytest.mark.parametrize("budget_s", [None, 500.0])
async def test_a_session_has_one_timer_however_many_frames(
    kind: str, budget_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set once while frames are answered in time, and never rings. A session around a stream has its own, and
    only for a budget.
    """
    asked: set[tuple[int, float]] = set()
    by = Alarm.by

    def seen(alarm: Alarm, at_s: float | None) -> None:
        by(alarm, at_s)
        if alarm._timer is not None:
            asked.add((id(alarm), alarm._at_s))

    monkeypatch.setattr(Alarm, "by", seen)
    monkeypatch.setattr(Alarm, "_rings", lambda _: pytest.fail("it rang"))
    with FakeServer() as server:
        async with client_of(server, budget_s) as client, getattr(client, kind)() as session:
            for _ in range(50):
                await session.send(FRAME, BOX)
                await anext(session)
    timers = len({alarm for alarm, _ in asked})
    assert timers == (2 if budget_s and kind == "resuming_stream" else 1)
    assert len(asked) <= 2 * timers  # for the answer's time-out, and for the budget, which is shorter


@KINDS
async def test_each_frame_has_its_answer_at_its_own_time(kind: str, clock: Clock) -> None:
    """The one timer is set again for the next frame."""
    with FakeServer() as server:
        server.hold()
        async with client_of(server) as client, getattr(client, kind)(budget_grace_s=GRACE_S) as session:
            for eighths in (6, 4, 2):
                await session.send(FRAME, BOX, age_s=eighths * BUDGET_S / 8)
            await clock.turn_on(BUDGET_S / 4 + GRACE_S)
            for _ in range(3):
                assert said(session.take()) == [OVER]
                await clock.turn_on(BUDGET_S / 4)
            assert session.take() == []


async def test_bytes_bound_what_waits_for_a_stream_as_frames_do() -> None:
    """A window of a hundred frames would be a lot of memory if they are large."""
    picture = np.zeros((500, 1000), np.uint8)
    with FakeServer(window_frames=100, window_bytes=2 * picture.nbytes + 1000) as server:
        async with (
            client_of(server, None) as client,
            client.resuming_stream(overload_policy=OverloadPolicy.DROP_OLDEST) as session,
        ):
            server.unavailable(1 << 30)
            server.cut()
            await settle()
            for _ in range(20):
                await session.send(picture, BOX)
            assert [answer.frame_id for answer in session.take()] == list(range(18))
