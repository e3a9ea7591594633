"""A server process that is frozen, killed or not there yet, and a client that keeps its promises all the same.

Time passes here as it does for people, since a process that is stopped has no clock to turn on. So the tests wait for
what must happen, and none of them fails because it happens late.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from reidstream_client import (
    AsyncReidClient,
    CallTimeout,
    ErrorReason,
    FrameEmbeddings,
    OverloadPolicy,
    ReidClient,
    RetryPolicy,
    ServerUnavailable,
    Session,
)
from reidstream_server.metrics.observer import MetricsObserver
from tests.support.harness import JPEG, picture, serving, until
from tests.support.patience import wait_until
from tests.support.process import ServerProcess, server_process

BOX = [[10, 10, 60, 120]]
BUDGET_S, GRACE_S = 0.3, 0.2
RAW = picture(1280, 720)
"""Large enough that a frozen server's sockets do not take many."""

KINDS = pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
POLICIES = pytest.mark.parametrize("policy", OverloadPolicy)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[ServerProcess, str]]:
    """A server process for all tests that leave it as it was."""
    with server_process() as server:
        yield server


@contextlib.contextmanager
def frozen(server: ServerProcess) -> Iterator[None]:
    """The process is stopped, and goes on at the end."""
    server.terminate(signal.SIGSTOP)
    try:
        yield
    finally:
        server.terminate(signal.SIGCONT)


def embedded(session: Session, count: int) -> list[FrameEmbeddings]:
    """Send fresh frames until so many have vectors; returns all answers."""
    answers: list[FrameEmbeddings] = []
    while sum(answer.error is None for answer in answers) < count:
        session.send(RAW, BOX)
        answers.append(next(session))
    return answers


@KINDS
@POLICIES
def test_a_frozen_server_leaves_no_frame_without_an_answer(
    running: tuple[ServerProcess, str], kind: str, policy: OverloadPolicy
) -> None:
    """While it is frozen every frame is answered in order by the client; when it goes on, its old answers are dropped,
    and new frames have vectors.
    """
    server, address = running
    with (
        ReidClient(address, latency_budget_s=BUDGET_S) as client,
        getattr(client, kind)(overload_policy=policy, budget_grace_s=GRACE_S) as session,
    ):
        before = embedded(session, 1)
        with frozen(server):
            sent = [session.send(RAW, BOX) for _ in range(18)]  # the window is 16
            answers = [next(session) for _ in sent]
        after = embedded(session, 3)
        session.finish()
        rest = list(session)
    assert rest == []
    ids = [answer.frame_id for answer in (*before, *answers, *after)]
    assert ids == list(range(len(ids)))
    assert all(answer.local and answer.error is not None for answer in answers)
    assert ErrorReason.OVER_BUDGET in {answer.error.reason for answer in answers if answer.error}


@KINDS
def test_a_frozen_server_is_given_up_after_the_answer_timeout(running: tuple[ServerProcess, str], kind: str) -> None:
    """A plain session ends. One that resumes opens another stream, and ends when that has taken too long as well; the
    block can be left at once.
    """
    options = {"answer_timeout_s": 0.5} | ({"give_up_after_s": 0.5} if kind == "resuming_stream" else {})
    server, address = running
    with (
        ReidClient(address) as client,
        getattr(client, kind)(**options) as session,
    ):
        embedded(session, 1)
        with frozen(server):
            began_s = time.monotonic()
            last = session.send(RAW, BOX)
            with pytest.raises(CallTimeout) as caught:
                next(session)
            assert time.monotonic() - began_s >= 0.5
            assert caught.value.unanswered == (last,)


def test_a_server_that_is_killed_leaves_no_frame_without_an_answer() -> None:
    """Between two servers the client answers; the second one is found, and no frame has two answers."""
    with (
        server_process() as (first, address),
        ReidClient(address, latency_budget_s=BUDGET_S) as client,
        client.resuming_stream(budget_grace_s=GRACE_S, overload_policy=OverloadPolicy.DROP_OLDEST) as session,
    ):
        answers = embedded(session, 1)
        first.terminate(signal.SIGKILL)
        first.wait()
        sent = [session.send(JPEG, BOX) for _ in range(20)]
        answers += [next(session) for _ in sent]
        with server_process("--port", address.rpartition(":")[2]):
            answers += embedded(session, 1)
            session.finish()
            answers += session
        assert session.epoch >= 1
    assert [answer.frame_id for answer in answers] == list(range(len(answers)))
    assert ErrorReason.OVER_BUDGET in {answer.error.reason for answer in answers if answer.error and answer.local}


async def test_cameras_may_start_before_their_server() -> None:
    """The first opening has the patience of the later ones; a plain stream does not wait so long."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with AsyncReidClient(f"127.0.0.1:{port}", retry=RetryPolicy(attempts=2)) as client:
        starting = asyncio.create_task(one_frame(client))
        with pytest.raises(ServerUnavailable):
            async with client.stream():
                pytest.fail("there is no session")
        assert not starting.done()
        async with serving(port=port):
            assert (await starting).valid.all()


async def test_a_full_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session has the only place, until it leaves."""
    refused: list[object] = []
    monkeypatch.setattr(MetricsObserver, "call_refused", lambda _, why: refused.append(why))
    async with serving(max_sessions=1) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        async with client.stream():
            waiting = asyncio.create_task(one_frame(client))
            await until(lambda: len(refused) > 1)
            assert not waiting.done()
        assert (await waiting).valid.all()


async def one_frame(client: AsyncReidClient) -> FrameEmbeddings:
    async with client.resuming_stream() as session:
        await session.send(JPEG, BOX)
        return await anext(session)


def test_a_client_that_leaves_is_logged_as_closed(running: tuple[ServerProcess, str]) -> None:
    """As an operator reads it."""
    server, address = running
    with ReidClient(address, camera_id="gate") as client, client.stream() as session:
        embedded(session, 1)

    def ended() -> list[object]:
        return [one["cause"] for one in server.log if one["event"] == "session_ended" and one["camera_id"] == "gate"]

    wait_until(ended)
    assert ended() == ["closed"]
