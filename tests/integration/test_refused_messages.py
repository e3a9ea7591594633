"""A message that was refused, and everything else of a call that ended badly, is gone with its call."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING
from unittest.mock import Mock

import grpc
import pytest

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.terms import DrainReason
from reidstream_server.transport.grpc_server import calls, forgetting, unparsable
from tests.support.harness import JPEG, frame, opening, serving, stub_of, until

if TYPE_CHECKING:  # the stub's class is in its types only
    from reidstream_proto.v1.service_pb2_grpc import EmbeddingServiceAsyncStub as Stub

Request = service_pb2.EmbedStreamRequest
OPTIONS = session_pb2.EmbedOptions(camera_id="c")
ONLY_OURS = 2  # references: the list, and the argument of getrefcount


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    """It comes by the number of objects; a few large messages would wait for it for minutes."""
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def watched(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[RunningServer, Stub, list[object]]]:
    """A server, and every message that it parses."""
    parsed: list[object] = []
    careful = unparsable._careful

    def watching(parse: Callable[[bytes], object], most: int) -> Callable[[bytes], object]:
        inner = careful(parse, most)

        def watch(data: bytes) -> object:
            message = inner(data)
            parsed.append(message)
            return message

        return watch

    monkeypatch.setattr(unparsable, "_careful", watching)
    engines = (FakeEngine(fake_spec("person")), FakeEngine(fake_spec("vehicle")))
    async with serving(*engines, max_message_bytes=1 << 20) as server, stub_of(server.port) as stub:
        yield server, stub, parsed


async def all_are_gone(parsed: list[object]) -> None:
    """Whether nobody but the list knows the messages, and no exception is kept that may know a part of one."""
    await until(lambda: all(sys.getrefcount(parsed[at]) <= ONLY_OURS for at in range(len(parsed))))
    await until(lambda: not kept_frames())


def kept_frames() -> list[str]:
    """The functions of the server that a traceback keeps with all that they knew."""
    return [
        one.tb_frame.f_code.co_qualname
        for one in gc.get_objects()
        if isinstance(one, TracebackType)
        and "reidstream_server" in one.tb_frame.f_code.co_filename
        and one.tb_frame.f_code.co_filename != forgetting.__file__
    ]


async def streamed(stub: Stub, *messages: Request) -> None:
    """Write these until the stream ends, and see why."""
    call = stub.EmbedStream()
    with suppress(grpc.RpcError, asyncio.InvalidStateError):
        await call.write(messages[0])
        for message in messages[1:]:
            await call.read()  # it was opened
            await call.write(message)
    with suppress(grpc.RpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    assert await call.code() is not grpc.StatusCode.OK
    assert await call.code() is not grpc.StatusCode.INTERNAL


async def asked(call: Awaitable[object]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is not grpc.StatusCode.INTERNAL


CHOICE = session_pb2.ModelChoice
STREAMS: dict[str, list[Request]] = {
    "a frame first": [frame(1)],
    "nothing first": [Request()],
    "a second opening": [opening(), opening()],
    "nothing": [opening(), Request()],
    "tracks ended": [opening(), Request(end_tracks=session_pb2.EndTracks(track_ids=range(1000)))],
    "tracks": [opening(track_options=session_pb2.TrackOptions())],
    "a session id": [opening(session_id=bytes(10_000))],
    "a camera": [opening(camera_id="c" * 1000)],
    "a budget": [opening(latency_budget_ms=2**31)],
    "a model": [opening(models=[CHOICE(name="nobody")])],
    "a space": [opening(models=[CHOICE(expected_space_id="1:ab")])],
    "classes": [opening(models=[CHOICE(class_ids=range(5000))])],
    "a class twice": [opening(models=[CHOICE(class_ids=[1]), CHOICE(name="vehicle", class_ids=[1])])],
    "an order": [opening(ordering=77)],
    "an older epoch": [opening(session_id=bytes(16), epoch=3)],
}


@pytest.mark.parametrize("kind", STREAMS)
async def test_nothing_stays_of_a_stream_that_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages are gone when its call is, although nobody collects garbage."""
    async with watched(monkeypatch) as (_, stub, parsed):
        newer = stub.EmbedStream()
        await newer.write(opening(session_id=bytes(16), epoch=4))
        await newer.read()
        await streamed(stub, *STREAMS[kind])
        assert len(parsed) == 1 + len(STREAMS[kind])
        await all_are_gone(parsed)
        newer.cancel()


UNARY: dict[str, service_pb2.EmbedRequest] = {
    "a camera": service_pb2.EmbedRequest(frame=frame(1).frame),
    "a picture": service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1, image=b"nothing").frame),
    "boxes": service_pb2.EmbedRequest(options=OPTIONS, frame=frame_pb2.Frame(boxes=[frame(1).frame.boxes[0]] * 1001)),
    "a model": service_pb2.EmbedRequest(
        options=session_pb2.EmbedOptions(camera_id="c", models=[CHOICE(name="nobody")]), frame=frame(1).frame
    ),
}


@pytest.mark.parametrize("kind", UNARY)
async def test_nothing_stays_of_a_call_that_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what it asks, and for what is wrong with its frame."""
    async with watched(monkeypatch) as (_, stub, parsed):
        await asked(stub.Embed(UNARY[kind]))
        await asked(stub.GetModel(service_pb2.GetModelRequest(name="nobody")))
        assert len(parsed) == 2
        await all_are_gone(parsed)


async def test_nothing_stays_of_refused_frames_or_of_a_client_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it says so, is cut off, or is taken over by another of its streams."""
    async with watched(monkeypatch) as (server, stub, parsed):
        for last in (Request(close=session_pb2.Close()), None, opening(session_id=bytes(16), epoch=1)):
            call = stub.EmbedStream()
            await call.write(opening(session_id=bytes(16)))
            for number, image in ((1, JPEG), (2, b"nothing"), (2, JPEG)):
                await call.write(frame(number, image=image))
            for _ in range(4):
                await call.read()
            other = stub.EmbedStream()
            if last is None:
                call.cancel()
            else:
                await (other if last.HasField("session_open") else call).write(last)
            await call.code()
            other.cancel()
            await until(lambda: server.embedding.open_streams == 0)
        await all_are_gone(parsed)


async def test_nothing_stays_of_a_fault_of_ours_nor_of_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log needs of an exception it has taken by then."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(calls, "log", Mock())  # pytest keeps what is logged, exceptions included
    async with watched(monkeypatch) as (server, stub, parsed):
        with monkeypatch.context() as patch:
            patch.setattr("reidstream_server.transport.embedding.service.parse_unary", broken)
            patch.setattr("reidstream_server.transport.embedding.service.parse_session", broken)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Embed(UNARY["a picture"])
            call = stub.EmbedStream()
            await call.write(opening())
            assert await call.code() is grpc.StatusCode.INTERNAL
        call = stub.EmbedStream()
        await call.write(opening())
        await call.read()
        await server.runtime.drain(DrainReason.SHUTDOWN, 0.05)
        await until(lambda: server.embedding.open_streams == 0)
        await asked(stub.Embed(UNARY["a picture"]))
        await all_are_gone(parsed)
