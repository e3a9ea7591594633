"""Everything that a fake server can be told to do wrong. Nothing but the client is imported, as in its users' tests."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from reidstream_client import (
    CallRejected,
    CallTimeout,
    ErrorReason,
    FrameInput,
    Health,
    InvalidRequest,
    ModelNotFound,
    Outcome,
    Overloaded,
    RetryPolicy,
    ServerFault,
    ServerUnavailable,
    SessionDrained,
    SessionEnded,
    SpaceMismatch,
    StaleEpoch,
)
from reidstream_client.testing import FakeServer

FRAME = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
BOX = [[1, 2, 30, 39]]
AT_ONCE = RetryPolicy(attempts=3, first_s=0)
ONCE = RetryPolicy(attempts=1)


def test_one_frame_fails_and_the_session_goes_on() -> None:
    """By its turn or by its id; a single call raises what is data on a stream."""
    with FakeServer() as server, server.client(retry=ONCE) as client:
        server.fail_frames(ErrorReason.INVALID_IMAGE, "garbage", frame_ids=[2])
        server.fail_frames(ErrorReason.QUEUE_FULL, retry_after_s=0.25)
        answers = list(client.embed_many([(FRAME, BOX)] * 4))
        assert [answer.error.reason if answer.error else None for answer in answers] == [
            *(ErrorReason.QUEUE_FULL, None, ErrorReason.INVALID_IMAGE, None)
        ]
        assert answers[0].error is not None
        assert answers[0].error.retry_after_s == 0.25
        assert answers[2].outcomes == (Outcome.FRAME_FAILED,)
        server.fail_frames(ErrorReason.QUEUE_FULL, retry_after_s=0.25, count=2)
        for _ in range(2):
            with pytest.raises(Overloaded) as caught:
                client.embed(FRAME, BOX)
            assert caught.value.retry_after_s == 0.25
        assert client.embed(FRAME, BOX).valid.all()
        with pytest.raises(InvalidRequest, match="UNKNOWN is the client's own"):
            server.fail_frames(ErrorReason.UNKNOWN)
        with pytest.raises(InvalidRequest, match="count must be at least 1, not 0"):
            server.fail_frames(ErrorReason.INTERNAL, count=0)


def test_a_frame_over_its_budget() -> None:
    """By its age, which the test gives."""
    with FakeServer() as server, server.client(latency_budget_s=60) as client:
        answers = client.embed_many([FrameInput(image=FRAME, boxes=BOX, age_s=age_s) for age_s in (0, 61)])
        assert [answer.error and answer.error.reason for answer in answers] == [None, ErrorReason.OVER_BUDGET]
        with pytest.raises(CallTimeout, match="61"):
            client.embed(FRAME, BOX, age_s=61)


def test_a_drain_answers_what_was_received() -> None:
    """And the session says that the rest goes elsewhere."""
    with FakeServer() as server, server.client() as client, client.stream() as session:
        server.hold()
        for _ in range(3):
            session.send(FRAME, BOX)
        server.wait_for_frames(3)
        server.drain()
        server.release()
        answers = [next(session).frame_id for _ in range(3)]
        with pytest.raises(SessionDrained, match="every frame was answered"):
            next(session)
    assert answers == [0, 1, 2]


def test_a_cut_stream_names_what_has_no_answer() -> None:
    """With any status."""
    with FakeServer() as server, server.client() as client, client.stream() as session:
        server.hold()
        session.send(FRAME, BOX)
        session.send(FRAME, BOX)
        server.wait_for_frames(2)
        server.release(0)
        assert next(session).frame_id == 0
        server.cut(grpc.StatusCode.INTERNAL, "power cut")
        with pytest.raises(ServerFault, match="power cut") as caught:
            next(session)
        assert caught.value.unanswered == (1,)


@pytest.mark.parametrize("end", ["cut", "drain"])
def test_a_session_that_resumes_loses_nothing(end: str) -> None:
    """Each frame is answered once, in order, over two streams; the second is opened after two vain attempts."""
    with FakeServer() as server, server.client(retry=AT_ONCE) as client, client.resuming_stream() as session:
        server.hold()
        for _ in range(3):
            session.send(FRAME, BOX)
        server.wait_for_frames(3)
        server.unavailable(2)
        if end == "cut":
            server.cut()
        else:
            server.drain()
        server.release()
        for _ in range(3):
            session.send(FRAME, BOX)
        session.finish()
        assert [answer.frame_id for answer in session] == list(range(6))
        assert session.epoch == 1
    assert [opened.epoch for opened in server.sessions] == [0, 1]
    assert len({opened.session_id for opened in server.sessions}) == 1


async def test_a_session_that_resumes_in_an_event_loop() -> None:
    """The same, cut three times."""
    with FakeServer() as server:
        async with server.async_client(retry=AT_ONCE) as client, client.resuming_stream() as session:
            for epoch in range(3):
                await session.send(FRAME, BOX)
                assert (await anext(session)).frame_id == epoch
                server.cut()
            await session.send(FRAME, BOX)
            await session.finish()
            assert [answer.frame_id async for answer in session] == [3]
            assert session.epoch == 3


def test_a_session_never_mixes_spaces() -> None:
    """The server comes back with other weights."""
    with FakeServer() as server, server.client(retry=AT_ONCE) as client, client.resuming_stream() as session:
        session.send(FRAME, BOX)
        first = next(session)
        server.change_space("1:" + "0" * 64)
        server.cut()
        with pytest.raises(SpaceMismatch):
            next(session)
        assert client.embed(FRAME, BOX).space_id != first.space_id
        with pytest.raises(InvalidRequest, match="there is no model 'lost'; this server has fake"):
            server.change_space("1:", "lost")


def test_an_expected_space_is_checked() -> None:
    """By calls and streams; and a model that is not there is said."""
    with FakeServer() as server:
        with server.client(expected_space_id="1:other") as client:
            with pytest.raises(SpaceMismatch, match="1:other"):
                client.embed(FRAME, BOX)
            with pytest.raises(SpaceMismatch, match="1:other"), client.stream():
                pytest.fail("there is no session")
        with server.client(model="lost") as client:
            with pytest.raises(ModelNotFound):
                client.embed(FRAME, BOX)
            with pytest.raises(ModelNotFound), client.stream():
                pytest.fail("there is no session")


def test_a_server_that_starts_again_is_waited_for() -> None:
    """The real retries; `ping` and calls with too few attempts say so."""
    with FakeServer() as server, server.client(retry=AT_ONCE) as client:
        server.unavailable(2)
        assert client.embed(FRAME, BOX).valid.all()
        server.unavailable(2)
        with client.stream() as session:
            session.finish()
        server.unavailable(4)
        with pytest.raises(ServerUnavailable, match="the fake server is away"):
            client.ping()
        with pytest.raises(ServerUnavailable):
            client.models()
        assert client.ping().health is Health.SERVING


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "", CallRejected),
        (grpc.StatusCode.NOT_FOUND, "", ModelNotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, "stale_epoch", StaleEpoch),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_sessions", Overloaded),
        (grpc.StatusCode.INTERNAL, "", ServerFault),
        (grpc.StatusCode.UNAVAILABLE, "shutting_down", ServerUnavailable),
    ],
)
def test_a_call_may_be_refused_in_any_way(status: grpc.StatusCode, reason: str, kind: type[Exception]) -> None:
    """The next calls only, and no health check."""
    with FakeServer() as server, server.client(retry=ONCE) as client:
        server.refuse(status, "no", reason=reason, retry_after_s=1.5, calls=2)
        client.ping()
        with pytest.raises(kind, match="no") as caught:
            client.embed(FRAME, BOX)
        assert type(caught.value) is kind
        assert getattr(caught.value, "retry_after_s", 1.5) == 1.5
        with pytest.raises(kind, match="no"), client.stream():
            pytest.fail("there is no session")
        assert client.embed(FRAME, BOX).valid.all()
    assert len(server.frames) == 1


def test_a_call_without_an_answer_is_given_up() -> None:
    """The real time-outs, for a call and for a session; both are short here."""
    with FakeServer() as server, server.client() as client:
        server.hold()
        with pytest.raises(CallTimeout):
            client.embed(FRAME, BOX, timeout_s=0.01)
        with client.stream(answer_timeout_s=0.01) as session:
            session.send(FRAME, BOX)
            with pytest.raises(CallTimeout):
                next(session)
        server.release()


def test_leaving_the_block_ends_what_is_open() -> None:
    """A call that waits, a session, and what comes later."""
    with ThreadPoolExecutor(1) as pool, FakeServer() as server:
        client = server.client(retry=ONCE)
        context = client.stream()
        session = context.__enter__()
        server.hold()
        waiting = pool.submit(client.embed, FRAME, BOX)
        server.wait_for_frames(1)
        server.close()
        with pytest.raises(ServerUnavailable, match="the fake server is closed"):
            waiting.result()
        with pytest.raises(ServerUnavailable, match="the fake server is closed"):
            next(session)
        with pytest.raises(ServerUnavailable, match="the fake server is closed"):
            client.ping()
        context.__exit__(None, None, None)
        client.close()


async def test_closing_a_client_ends_its_calls() -> None:
    """As closing a connection does."""
    with FakeServer() as server:
        server.hold()
        client = server.async_client()
        async with client.stream() as session:
            waiting = asyncio.create_task(client.embed(FRAME, BOX))
            await server.async_wait_for_frames(1)
            await client.close()
            with pytest.raises(SessionEnded):
                await waiting
            with pytest.raises(SessionEnded):
                await anext(session)
        with pytest.raises(SessionEnded, match="closed"):
            await client.models()
