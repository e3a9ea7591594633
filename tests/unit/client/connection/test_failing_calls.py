"""Calls that fail, are repeated, or are given up, against a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import grpc
import pytest

from reidstream_client import (
    AsyncReidClient,
    CallRejected,
    CallTimeout,
    FrameTooLarge,
    ModelNotFound,
    Overloaded,
    ReidError,
    RetryPolicy,
    ServerFault,
    ServerUnavailable,
    SessionEnded,
    SpaceMismatch,
)
from reidstream_client.connection import grpc_connection
from reidstream_client.errors import error_of
from reidstream_proto.v1 import service_pb2
from tests.unit.client.samples import BOXES, IMAGE, ONCE
from tests.unit.client.scripted_server import ScriptedServer, ServerStream, result

AT_ONCE = RetryPolicy(attempts=3, first_s=0)


def aborting(status: grpc.StatusCode, details: str, times: int = 1 << 30) -> Callable[..., Awaitable[object]]:
    """An Embed that fails so often, and then serves."""
    left = [times]

    async def embed(request: service_pb2.EmbedRequest, context: grpc.aio.ServicerContext) -> object:  # type: ignore[type-arg]
        left[0] -= 1
        if left[0] >= 0:
            await context.abort(status, details)
        return service_pb2.EmbedResponse(result=result(request.frame))

    return embed


async def test_a_server_that_is_not_ready_yet_is_asked_again(server: ScriptedServer) -> None:
    """Embedding twice does no harm, so the client repeats it."""
    server.on_embed = aborting(grpc.StatusCode.UNAVAILABLE, "warming up", times=2)  # type: ignore[assignment]
    async with AsyncReidClient(server.target, retry=AT_ONCE) as client:
        answer = await client.embed(IMAGE, BOXES)
    assert answer.valid.all()
    assert len(server.embedded) == 3


async def test_a_frame_ages_while_the_call_is_repeated(server: ScriptedServer) -> None:
    """From the call on, without being told when it was taken: a budget counts what it waited here."""
    server.on_embed = aborting(grpc.StatusCode.UNAVAILABLE, "warming up", times=2)  # type: ignore[assignment]
    async with AsyncReidClient(server.target, retry=AT_ONCE) as client:
        await client.embed(IMAGE, BOXES)
    first, second, third = (request.frame.age_ns for request in server.embedded)
    assert 0 < first < second < third


async def test_patience_is_bounded(server: ScriptedServer) -> None:
    """Three attempts, then the last one's error with what the server said."""
    server.on_embed = aborting(grpc.StatusCode.UNAVAILABLE, "warming up")  # type: ignore[assignment]
    async with AsyncReidClient(server.target, retry=AT_ONCE) as client:
        with pytest.raises(ServerUnavailable, match=r"warming up.*is a reidstream-server running"):
            await client.embed(IMAGE, BOXES)
    assert len(server.embedded) == 3


async def test_patience_ends_before_the_calls_time_does(server: ScriptedServer) -> None:
    """A pause that would outlast the time-out is not begun."""
    server.on_embed = aborting(grpc.StatusCode.UNAVAILABLE, "warming up")  # type: ignore[assignment]
    async with AsyncReidClient(server.target, retry=RetryPolicy(attempts=9, first_s=60), timeout_s=30) as client:
        with pytest.raises(ServerUnavailable):
            await client.embed(IMAGE, BOXES)
    assert len(server.embedded) == 1


async def test_nobody_there() -> None:
    """The message names the address and says what to look for."""
    async with AsyncReidClient("127.0.0.1:1", retry=ONCE) as client:
        with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1: .*is a reidstream-server running"):
            await client.embed(IMAGE, BOXES)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, CallRejected),
        (grpc.StatusCode.NOT_FOUND, ModelNotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, SpaceMismatch),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CallTimeout),
        (grpc.StatusCode.INTERNAL, ServerFault),
    ],
)
async def test_a_refusal_is_raised_as_what_it_is(
    server: ScriptedServer, status: grpc.StatusCode, kind: type[ReidError]
) -> None:
    """Not repeated; with the status and the server's words."""
    server.on_embed = aborting(status, "the words")  # type: ignore[assignment]
    async with AsyncReidClient(server.target, retry=AT_ONCE) as client:
        with pytest.raises(kind, match="the words") as caught:
            await client.embed(IMAGE, BOXES)
    assert type(caught.value) is kind
    assert caught.value.status is status
    assert len(server.embedded) == 1


@pytest.mark.parametrize(("said", "retry_after_s"), [("250", 0.25), ("0", 0.0), ("soon", None), (None, None)])
async def test_an_overloaded_server_says_when_to_come_back(
    server: ScriptedServer, said: str | None, retry_after_s: float | None
) -> None:
    """As on a stream, where it is in the frame's error; what cannot be read is as not said."""

    async def full(_: object, context: grpc.aio.ServicerContext) -> object:  # type: ignore[type-arg]
        trailers = () if said is None else (("reidstream-retry-after-ms", said),)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers)
        raise AssertionError

    server.on_embed = full  # type: ignore[assignment]
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(Overloaded) as caught:
            await client.embed(IMAGE, BOXES)
    assert caught.value.retry_after_s == retry_after_s


async def test_a_server_that_says_nothing_is_given_up(server: ScriptedServer) -> None:
    """By the call's own time-out, shorter than the client's."""

    async def silent(request: object, context: object) -> service_pb2.EmbedResponse:
        del request, context
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    server.on_embed = silent
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(CallTimeout):
            await client.embed(IMAGE, BOXES, timeout_s=0.05)


@pytest.mark.parametrize("resuming", [False, True], ids=["stream", "resuming_stream"])
async def test_closing_ends_a_stream_that_is_being_opened(*, resuming: bool) -> None:
    """Also before there is a connection: whoever opens it does not wait for the attempt's time-out."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.setblocking(False)
        client = AsyncReidClient(f"127.0.0.1:{silent.getsockname()[1]}")

        async def use() -> None:
            async with client.resuming_stream() if resuming else client.stream():
                pytest.fail("nobody answered")

        opening = asyncio.create_task(use())
        accepted, _ = await asyncio.get_running_loop().sock_accept(silent)
        with accepted:
            await client.close()
            with pytest.raises(SessionEnded, match="this client was closed"):
                await opening


async def test_closing_ends_a_stream_whose_opening_has_no_answer(server: ScriptedServer) -> None:
    """The server has taken the call and says nothing: whoever opens it is told who ended it."""
    asked = asyncio.Event()

    async def silent(stream: ServerStream) -> None:
        del stream
        asked.set()
        await asyncio.get_running_loop().create_future()

    server.on_stream = silent
    client = AsyncReidClient(server.target)

    async def use() -> None:
        async with client.stream():
            pytest.fail("nobody answered")

    opening = asyncio.create_task(use())
    await asked.wait()
    await client.close()
    with pytest.raises(SessionEnded, match="this client was closed"):
        await opening


async def test_closing_ends_open_calls_with_an_error(server: ScriptedServer) -> None:
    """Nobody waits for a client that is gone, and a closed client says so."""
    started = asyncio.Event()

    async def silent(request: object, context: object) -> service_pb2.EmbedResponse:
        del request, context
        started.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    server.on_embed = silent
    client = AsyncReidClient(server.target)
    call = asyncio.create_task(client.embed(IMAGE, BOXES))
    await started.wait()
    await client.close()
    await client.close()
    with pytest.raises(SessionEnded, match="closed"):
        await call
    with pytest.raises(SessionEnded, match="closed"):
        await client.models()


async def test_a_proxy_is_not_asked_for_this_machine(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment's proxy is for other machines, whatever gRPC thinks."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with AsyncReidClient(server.target, retry=RetryPolicy(attempts=1)) as client:
        assert (await client.embed(IMAGE, BOXES)).valid.all()


LIMIT = 10_000


async def test_a_frame_beyond_the_servers_limit_is_too_large() -> None:
    """GRPC itself refuses it, with the status of a server that has no room; but a later try would not help."""
    small = ScriptedServer()
    async with small.running([("grpc.max_receive_message_length", LIMIT)]), AsyncReidClient(small.target) as client:
        with pytest.raises(FrameTooLarge, match=rf"has \d+ bytes, and at most {LIMIT} are read: .*--max-message-bytes"):
            await client.embed(bytes(LIMIT), BOXES)
        with pytest.raises(FrameTooLarge) as caught:
            await client.embed(bytes(LIMIT), BOXES)
        assert caught.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.embed(b"x", BOXES)).valid.all()


async def test_an_answer_beyond_a_limit_is_no_overload_either(server: ScriptedServer) -> None:
    """Of a call and of a stream, at the client and at the server; each error says which limit."""
    few = ScriptedServer()
    async with few.running([("grpc.max_send_message_length", 100)]), AsyncReidClient(few.target) as client:
        with pytest.raises(CallRejected, match="the server sends at most 100"):
            await client.info()
    async with AsyncReidClient(server.target, max_message_bytes=250) as client:
        with pytest.raises(CallRejected, match=r"takes at most 250: raise its max_message_bytes"):
            await client.info()
        async with client.stream() as session:
            await session.send(b"x", [[1, 2, 3, 4]] * 5)
            with pytest.raises(CallRejected, match="takes at most 250") as caught:
                await anext(session)
        assert caught.value.unanswered == (0,)


@pytest.mark.parametrize("side", ["", "SERVER: "])
def test_older_versions_of_grpc_do_not_say_on_which_side(side: str) -> None:
    """Then it is about what was sent."""
    details = f"{side}Received message larger than max (20 vs. 10)"
    error = error_of(grpc.StatusCode.RESOURCE_EXHAUSTED, details, {}, target="gpu:1", hint="")
    assert isinstance(error, FrameTooLarge)
    assert str(error).startswith("gpu:1: the frame's message has 20 bytes, and at most 10 are read")


async def test_a_call_that_grpc_never_ends_is_ended(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gRPC that does not work in this process keeps no time-out either."""
    monkeypatch.setattr(grpc_connection, "_GRACE_S", -599.9)
    stuck = asyncio.Event()

    async def wait(*_: object) -> None:
        await stuck.wait()

    server.on_embed = wait  # type: ignore[assignment]
    async with AsyncReidClient(server.target, timeout_s=600, retry=ONCE) as client:
        with pytest.raises(CallTimeout, match="gRPC itself did not end the call"):
            await client.embed(IMAGE, BOXES)
    stuck.set()
