"""Calls that the server's gRPC or a proxy cuts off before an answer: they are made again, and never for ever."""

from __future__ import annotations

import asyncio

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    CallRejected,
    Overloaded,
    ReidClient,
    ReidError,
    RetryPolicy,
    ServerFault,
    ServerUnavailable,
    SessionEnded,
)
from reidstream_client.testing import FakeServer
from tests.support.patience import HANG_S
from tests.unit.client.resetting_server import resetting
from tests.unit.client.samples import ONCE
from tests.unit.client.scripted_server import ScriptedServer

FRAME = np.zeros((40, 60, 3), np.uint8)
BOX = [[1, 2, 30, 39]]
THRICE = RetryPolicy(attempts=3, first_s=0.001, cap_s=0.001)
PATIENT = RetryPolicy(attempts=50, first_s=0.001, cap_s=0.01)
"""Where gRPC may need a moment for a connection that was just ended."""
CANCEL, INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 8, 2, 7, 11

CODES = pytest.mark.parametrize("code", [CANCEL, INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM])


@CODES
@pytest.mark.parametrize("resuming", [False, True])
async def test_an_opening_that_is_reset_is_made_again(server: ScriptedServer, code: int, *, resuming: bool) -> None:
    """Nothing was sent yet that could be lost, so the caller hears nothing of it."""
    async with (
        resetting(server.target, resets=2, code=code) as between,
        AsyncReidClient(between.target, retry=PATIENT) as client,
        (client.resuming_stream if resuming else client.stream)() as session,
    ):
        await session.send(FRAME, BOX)
        await session.finish()
        assert [answer.frame_id async for answer in session] == [0]
    assert between.seen >= 2  # gRPC makes a refused call again by itself


async def test_the_client_without_async_has_the_same_patience(server: ScriptedServer) -> None:
    """It is the same client in a thread."""

    def one_frame(target: str) -> list[int]:
        with ReidClient(target, retry=PATIENT) as client, client.stream() as session:
            session.send(FRAME, BOX)
            session.finish()
            return [answer.frame_id for answer in session]

    async with resetting(server.target, resets=2, code=CANCEL) as between:
        assert await asyncio.to_thread(one_frame, between.target) == [0]


@CODES
async def test_a_single_call_that_is_reset_is_made_again(server: ScriptedServer, code: int) -> None:
    """Embedding twice does no harm, and neither does asking for a model."""
    async with (
        resetting(server.target, resets=2, code=code) as between,
        AsyncReidClient(between.target, retry=THRICE) as client,
    ):
        assert len((await client.embed(FRAME, BOX)).embeddings) == 1


@CODES
async def test_an_opening_that_is_always_reset_ends_with_the_number_of_tries(server: ScriptedServer, code: int) -> None:
    """The error names the server, what happened and how often it was tried; no call is made for ever."""
    async with (
        resetting(server.target, resets=1 << 30, code=code) as between,
        AsyncReidClient(between.target, retry=THRICE) as client,
    ):
        with pytest.raises(ServerUnavailable, match=r"ended the call before it answered \(tried 3 times") as caught:
            async with client.stream():
                pytest.fail("there is no session")
        assert between.target in str(caught.value)
        assert caught.value.cut_off
        with pytest.raises(ServerUnavailable, match="tried 3 times"):
            await client.embed(FRAME, BOX)


async def test_one_attempt_is_one_attempt(server: ScriptedServer) -> None:
    """Whoever repeats calls by itself can say so, and hears at once."""
    async with (
        resetting(server.target, resets=1 << 30, code=CANCEL) as between,
        AsyncReidClient(between.target, retry=ONCE) as client,
    ):
        with pytest.raises(ServerUnavailable, match=r"before it answered$") as caught:
            async with client.stream():
                pytest.fail("there is no session")
        assert caught.value.status is grpc.StatusCode.CANCELLED
        assert between.seen == 1


async def test_closing_the_client_ends_an_opening_that_is_repeated() -> None:
    """A client that was closed opens nothing any more."""
    patient = RetryPolicy(attempts=1 << 20, first_s=0.001, cap_s=0.001)
    with FakeServer() as server:
        server.refuse(grpc.StatusCode.CANCELLED, calls=1 << 30)
        client = server.async_client(retry=patient, timeout_s=HANG_S)
        opening = asyncio.ensure_future(client.stream().__aenter__())
        await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(SessionEnded, match=r"closed|cancelled"):
            await opening


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_sessions", Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_calls", Overloaded),
        (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated", CallRejected),
        (grpc.StatusCode.INVALID_ARGUMENT, "invalid", CallRejected),
        (grpc.StatusCode.INTERNAL, "internal", ServerFault),
    ],
)
async def test_an_answer_with_a_reason_is_not_asked_for_again(
    status: grpc.StatusCode, reason: str, kind: type[ReidError]
) -> None:
    """A refusal is an answer: it has its class, and no number of tries."""
    with FakeServer() as server:
        server.refuse(status, "no", reason=reason, calls=1)
        async with server.async_client(retry=THRICE) as client:
            with pytest.raises(kind, match=r"no$"):
                async with client.stream():
                    pytest.fail("there is no session")
