"""How long a session that resumes goes on, and which errors end it at once: a fake server that refuses in every way."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    CallRejected,
    CallTimeout,
    ModelNotFound,
    Overloaded,
    ReidError,
    ResumingSession,
    RetryPolicy,
    ServerFault,
    ServerUnavailable,
    SessionEnded,
)
from reidstream_client.session import patience
from reidstream_client.session.patience import MAX_PAUSE_S, Patience, without_end
from reidstream_client.testing import FakeServer
from tests.support.clock import Clock
from tests.support.patience import HANG_S

FRAME = np.zeros((40, 60, 3), np.uint8)
BOX = [[1, 2, 30, 39]]
MANY = 1 << 30
QUICK = RetryPolicy(attempts=1, first_s=0.001, cap_s=0.001)

PASSES = pytest.mark.parametrize(
    "status",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    ],
)
STAYS = pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, CallRejected),
        (grpc.StatusCode.NOT_FOUND, ModelNotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, CallRejected),
        (grpc.StatusCode.UNIMPLEMENTED, CallRejected),
    ],
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between streams are as short as those between attempts."""
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "MAX_PAUSE_S", 0.001)


async def one_frame(client: AsyncReidClient, **options: float) -> int:
    """A session of one frame; returns how often it was resumed."""
    opening: AbstractAsyncContextManager[ResumingSession] = client.resuming_stream(**cast("Any", options))
    async with opening as session:
        await session.send(FRAME, BOX)
        await session.finish()
        assert [answer.frame_id async for answer in session] == [0]
        return session.epoch


@PASSES
async def test_the_first_opening_has_the_patience_of_the_later_ones(status: grpc.StatusCode) -> None:
    """A server that starts after its cameras is found, however many attempts a single call would make."""
    with FakeServer() as server:
        server.refuse(status, calls=20)
        async with server.async_client(retry=QUICK) as client:
            assert await one_frame(client) == 0


@PASSES
async def test_what_may_pass_ends_no_session_while_it_has_time(status: grpc.StatusCode) -> None:
    """The stream is cut with a status, and twenty openings after it fail with the same one."""
    with FakeServer() as server:
        async with server.async_client(retry=QUICK) as client, client.resuming_stream() as session:
            server.hold()
            await session.send(FRAME, BOX)
            await server.async_wait_for_frames(1)
            server.refuse(status, calls=20)
            server.cut(status)
            server.release()
            assert (await anext(session)).valid.all()
            assert session.epoch == 1


@STAYS
async def test_what_will_not_pass_ends_a_session_at_once(status: grpc.StatusCode, kind: type[ReidError]) -> None:
    """At the first opening and at a later one, although there is time."""
    with FakeServer() as server:
        async with server.async_client(retry=QUICK) as client:
            async with client.resuming_stream() as session:
                server.hold()
                await session.send(FRAME, BOX)
                await server.async_wait_for_frames(1)
                server.refuse(status)
                server.cut()
                with pytest.raises(kind) as caught:
                    await anext(session)
                assert caught.value.unanswered == (0,)
            server.refuse(status)
            with pytest.raises(kind):
                async with client.resuming_stream():
                    pytest.fail("there is no session")


async def test_streams_that_answer_nothing_end_a_session_by_time_alone() -> None:
    """Twenty in a row are opened, given a frame and cut; the next one answers it."""
    with FakeServer() as server:
        server.hold()
        async with server.async_client(retry=QUICK) as client, client.resuming_stream() as session:
            await session.send(FRAME, BOX)
            for epoch in range(20):
                await server.async_wait_for_frames(epoch + 1)
                server.cut(grpc.StatusCode.INTERNAL)
            await server.async_wait_for_frames(21)
            server.release()
            assert (await anext(session)).valid.all()
            assert session.epoch == 20


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, ServerUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.INTERNAL, ServerFault),
    ],
)
async def test_time_ends_a_session_that_does_not_succeed(
    status: grpc.StatusCode, kind: type[ReidError], clock: Clock
) -> None:
    """With the last error, between two streams and before the first one."""
    with FakeServer() as server:
        async with server.async_client(retry=QUICK) as client, client.resuming_stream(give_up_after_s=100) as session:
            server.refuse(status, calls=MANY)
            server.cut()
            reading = asyncio.create_task(anext(session))
            await clock.turn_on(99)
            assert not reading.done()
            await clock.turn_on(2)
            with pytest.raises(kind):
                await reading
            opening = asyncio.create_task(one_frame(client, give_up_after_s=100))
            await clock.turn_on(99)
            assert not opening.done()
            await clock.turn_on(2)
            with pytest.raises(kind):
                await opening


async def test_fruitless_streams_end_a_session_when_its_time_is_over(clock: Clock) -> None:
    """Each is opened, given the frame and cut. A stream that answers gives all time back."""
    with FakeServer() as server:
        async with server.async_client(retry=QUICK) as client, client.resuming_stream(give_up_after_s=100) as session:
            await session.send(FRAME, BOX)
            await anext(session)
            server.hold()
            await session.send(FRAME, BOX)
            reading = asyncio.create_task(anext(session))
            for seconds in (60, 30, 9):
                server.cut(grpc.StatusCode.INTERNAL, "again")
                await clock.turn_on(seconds)
                assert not reading.done()
            server.release()
            await reading
            server.hold()
            await session.send(FRAME, BOX)
            reading = asyncio.create_task(anext(session))
            for seconds in (60, 30):
                server.cut(grpc.StatusCode.INTERNAL, "again")
                await clock.turn_on(seconds)
                assert not reading.done()
            server.cut(grpc.StatusCode.INTERNAL, "the last")
            await clock.turn_on(11)
            with pytest.raises(ServerFault, match="the last") as caught:
                await reading
            assert caught.value.unanswered == (2,)


async def test_a_server_that_says_nothing_to_an_opening_is_asked_again() -> None:
    """Each attempt has the time of a call; a frozen server would otherwise use up all patience with one."""
    opened = 0
    with FakeServer() as server:
        message = server._hub.message

        def silent(call: object, request: object) -> None:
            nonlocal opened
            opened += 1
            if opened > 3:
                message(call, request)  # type: ignore[arg-type]

        server._hub.message = silent  # type: ignore[method-assign]
        async with server.async_client(retry=QUICK, timeout_s=0.02) as client:
            assert await one_frame(client, give_up_after_s=HANG_S) == 0
            opened = -MANY
            with pytest.raises(CallTimeout, match=r"not opened within 0\.02 s"):
                async with client.resuming_stream(give_up_after_s=0.1):
                    pytest.fail("there is no session")


async def test_a_closed_client_opens_nothing_any_more() -> None:
    """Its sessions end with it, whatever time they have."""
    with FakeServer() as server:
        client = server.async_client(retry=QUICK)
        async with client.resuming_stream() as session:
            await client.close()
            with pytest.raises(SessionEnded, match="closed"):
                await anext(session)
        with pytest.raises(SessionEnded, match="closed"):
            async with client.resuming_stream():
                pytest.fail("there is no session")


def test_the_clock_of_failure_starts_at_the_last_success() -> None:
    """Failures in a row count together, and a success forgives them."""
    one = Patience(10)
    assert one.left_s(100) == 10
    one.failed(100)
    one.failed(107)
    assert one.left_s(108) == 2
    one.succeeded()
    one.failed(108)
    assert one.left_s(118) == 0


def test_frames_never_wait_a_second_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow, whatever the caller's policy is, and stay under a second."""
    monkeypatch.undo()
    monkeypatch.setattr(random, "uniform", lambda _, high: high)
    one = Patience(10)
    pauses = []
    for _ in range(2000):
        one.failed(0)
        pauses.append(one.pause_s())
    assert pauses[0] == 0.1
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_S < 1
    policy = without_end(RetryPolicy(attempts=1, first_s=5, cap_s=60))
    assert (policy.first_s, policy.cap_s) == (MAX_PAUSE_S, MAX_PAUSE_S)
    assert without_end(RetryPolicy(first_s=0.01, cap_s=0.5)).cap_s == 0.5
