"""How a session is opened, and how that fails."""

from __future__ import annotations

import grpc
import pytest

from reidstream_client import (
    AsyncReidClient,
    CallTimeout,
    InvalidRequest,
    ModelNotFound,
    ProtocolFault,
    ReidError,
    RetryPolicy,
    ServerUnavailable,
    SpaceMismatch,
)
from tests.unit.client.samples import ONCE, Script, collect
from tests.unit.client.scripted_server import OTHER_SPACE, SPACE, ScriptedServer, ServerStream, model


async def _refuse(stream: ServerStream) -> None:
    await stream.context.abort(grpc.StatusCode.NOT_FOUND, "no model 'lost'")


async def _answer_before_opening(stream: ServerStream) -> None:
    await stream.drain(None)


@pytest.mark.parametrize(
    ("script", "kind", "complaint"),
    [
        (_refuse, ModelNotFound, "no model 'lost'"),
        (_answer_before_opening, ProtocolFault, "did not begin with SessionOpened"),
        (lambda stream: stream.opened(session_id=b"another"), ProtocolFault, "another session"),
        (lambda stream: stream.opened(frames=0), ProtocolFault, "a window of nothing"),
        (lambda stream: stream.opened(model(), model("b")), ProtocolFault, "2 models were agreed, 1 were asked for"),
        (lambda stream: stream.opened(model(space=OTHER_SPACE)), SpaceMismatch, "expected was"),
    ],
)
async def test_an_opening_that_fails_says_why(
    server: ScriptedServer, script: Script, kind: type[ReidError], complaint: str
) -> None:
    """Before the caller has a session at all."""
    server.on_stream = script
    async with AsyncReidClient(server.target, expected_space_id=SPACE) as client:
        with pytest.raises(kind, match=complaint):
            async with client.stream():
                pytest.fail("there is no session")


async def test_an_opening_is_repeated_while_the_server_is_not_ready(server: ScriptedServer) -> None:
    """Nothing was sent that could be lost; each attempt is a session of its own."""

    async def warming_up(stream: ServerStream) -> None:
        if len(server.streams) < 3:
            await stream.context.abort(grpc.StatusCode.UNAVAILABLE, "warming up")
        await stream.opened()
        await stream.answer_all()

    server.on_stream = warming_up
    retry = RetryPolicy(attempts=3, first_s=0)
    async with AsyncReidClient(server.target, retry=retry) as client, client.stream() as session:
        await session.finish()
        assert await collect(session) == ([], None)
    assert len(server.streams) == 3


async def test_an_opening_without_an_answer_is_given_up(server: ScriptedServer) -> None:
    """Within the client's time-out."""

    async def silent(stream: ServerStream) -> None:
        await stream.frame()
        await stream.frame()

    server.on_stream = silent
    async with AsyncReidClient(server.target, timeout_s=0.05) as client:
        with pytest.raises(CallTimeout, match=r"not opened within 0\.05 s"):
            async with client.stream():
                pytest.fail("there is no session")


async def test_nobody_there() -> None:
    """The same error as for a call."""
    async with AsyncReidClient("127.0.0.1:1", retry=ONCE) as client:
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
            async with client.stream():
                pytest.fail("there is no session")


async def test_patience_must_be_some(server: ScriptedServer) -> None:
    """A session without any would end before its first answer."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(InvalidRequest, match="answer_timeout_s must be above 0, not 0"):
            async with client.stream(answer_timeout_s=0):
                pytest.fail("there is no session")
        with pytest.raises(InvalidRequest, match="budget_grace_s must be 0 or more, not -1"):
            async with client.stream(budget_grace_s=-1):
                pytest.fail("there is no session")
        with pytest.raises(InvalidRequest, match="give_up_after_s must be above 0, not -1"):
            async with client.resuming_stream(give_up_after_s=-1):
                pytest.fail("there is no session")
