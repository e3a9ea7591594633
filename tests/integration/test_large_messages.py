"""Large messages are parsed and read in a thread of their own; their answers are those of all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from reidstream_engines.fake import FakeEngine
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.transport.embedding import frames
from reidstream_server.transport.entrance.apart import Apart
from reidstream_server.transport.grpc_server import unparsable
from tests.support.gate import Gate
from tests.support.harness import (
    RawStream,
    box,
    encode,
    frame,
    picture,
    raw_image,
    real_engine,
    send_all,
    serving,
    stream_to,
    stub_of,
    until,
)

Request = service_pb2.EmbedStreamRequest
OPTIONS = session_pb2.EmbedOptions(camera_id="c")
RAW = frame_pb2.Frame(
    frame_id=1,
    raw=raw_image(picture(2048, 1536)),  # 9 MiB
    boxes=[box(10, 20, 400, 900), box(1000, 300, 1400, 1200), box(5000, 0, 6000, 9), box(0, 0, 2048, 1536)],
)
CROPS = frame_pb2.Frame(
    frame_id=1,
    crops=frame_pb2.CropList(
        crops=[
            image_pb2.Crop(encoded=image_pb2.EncodedImage(data=b"junk" if n == 7 else encode(picture(32, 64, n))))
            for n in range(200)
        ]
    ),
)
KINDS = {"a raw frame of 9 MiB": RAW, "200 ready crops": CROPS}


def without_times(result: frame_pb2.FrameResult) -> bytes:
    """All that does not depend on how fast the machine is."""
    result.ClearField("timing")
    return result.SerializeToString(deterministic=True)


async def answers_of(message: frame_pb2.Frame, server: RunningServer) -> list[bytes]:
    """Of a stream, and of a single call."""
    async with stream_to(server) as stream, stub_of(server.port) as stub:
        await stream.open()
        await stream.call.write(Request(frame=message))
        single = await stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=message))
        return [without_times(await stream.result()), without_times(single.result)]


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_are_the_same_to_the_bit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the message was parsed, in a stream and in a single call."""
    async with serving(real_engine()) as server:
        done: list[str] = []
        do = server.embedding.apart.do

        async def watched(source: str, work: object) -> object:
            done.append(source)
            return await do(source, work)  # type: ignore[arg-type]  # whatever it is

        monkeypatch.setattr(server.embedding.apart, "do", watched)
        found = await answers_of(KINDS[kind], server)
        assert len(done) >= 2
        done.clear()
        monkeypatch.setattr(unparsable, "LARGE_MESSAGE_BYTES", 2**40)
        monkeypatch.setattr(frames, "MANY_CROPS", 2**40)
        expected = await answers_of(KINDS[kind], server)
        assert (found, done) == (expected, [])


@asynccontextmanager
async def blocked(*, gate: Gate) -> AsyncIterator[tuple[RunningServer, RawStream, Apart]]:
    """A server whose thread for large messages is at work until the gate opens, and an open stream."""
    async with serving(FakeEngine()) as server, stream_to(server) as stream:
        blocking = asyncio.create_task(server.embedding.apart.do("nobody", lambda: gate.wait(0)))
        await stream.open()
        await until(lambda: gate.entered == 1)
        try:
            yield server, stream, server.embedding.apart
        finally:
            blocking.cancel()


async def test_frames_of_a_session_stay_in_order() -> None:
    """What comes after a large one waits for it, and the end of the stream, too; streams of small ones do not."""
    gate = Gate()
    first, third = Request(frame=RAW), Request(frame=RAW)
    third.frame.frame_id = 3
    async with blocked(gate=gate) as (server, stream, waiting), stream_to(server) as other:
        await other.open()
        await other.call.write(frame(76))
        assert (await other.result()).frame_id == 76
        sending = asyncio.create_task(send_all(stream, [frame(0), first, frame(2), third, frame(4)]))
        await until(lambda: waiting.waiting == 1)
        assert (await stream.result()).frame_id == 0
        await other.call.write(frame(77))
        assert (await other.result()).frame_id == 77
        gate.opened.set()
        assert [(await stream.result()).frame_id for _ in range(4)] == [1, 2, 3, 4]
        assert await stream.read() is None
        await sending


async def test_a_stream_of_which_nothing_is_known_waits_if_its_client_sends_large_messages() -> None:
    """Its first message may be large, too: then it would be joined on the event loop whoever waits for it."""
    gate = Gate()
    async with blocked(gate=gate) as (server, stream, waiting), stream_to(server) as other:
        await stream.call.write(Request(frame=RAW))
        await until(lambda: waiting.waiting == 1)
        await other.open()
        await other.call.write(frame(77))
        await until(lambda: waiting.waiting == 2)
        gate.opened.set()
        assert (await other.result()).frame_id == 77
        assert (await stream.result()).frame_id == 1


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_next_large_message_is_joined_when_it_is_its_turn(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    """GRPC keeps its parts until then. They are joined in any case, or gRPC would keep them for ever."""
    joined, unparsed = list[int](), unparsable.Unparsed

    def counted(data: bytes, parse: Callable[[bytes], Request]) -> unparsable.Unparsed[Request]:
        joined.append(len(data))
        return unparsed(data, parse)

    monkeypatch.setattr(unparsable, "Unparsed", counted, raising=True)
    gate, second = Gate(), Request(frame=RAW)
    second.frame.frame_id = 2
    async with serving(FakeEngine()) as server, stream_to(server) as stream:
        large = server.embedding.apart
        await stream.open()
        await stream.call.write(Request(frame=RAW))
        assert (await stream.result()).frame_id == 1
        blocking = asyncio.create_task(large.do("nobody", lambda: gate.wait(0)))
        await until(lambda: gate.entered == 1)
        await stream.call.write(second)
        await until(lambda: large.waiting == 1)
        if leaves:
            stream.call.cancel()
            await until(lambda: server.embedding.open_streams == 0)
        assert (large.waiting, sum(size > unparsable.LARGE_MESSAGE_BYTES for size in joined)) == (1, 1)
        gate.opened.set()
        await until(lambda: sum(size > unparsable.LARGE_MESSAGE_BYTES for size in joined) == 2)
        if not leaves:
            assert (await stream.result()).frame_id == 2
        await blocking


WRONG = {
    "no message": (b"\xff" * (9 * 2**20), "cannot be parsed"),
    "structure": (Request(frame=frame_pb2.Frame(boxes=[box(1, 2, 3, 4)] * 500_000)).SerializeToString(), "beside its"),
    "two openings": (
        Request(session_open=session_pb2.SessionOpen(session_id=bytes(9 * 2**20))).SerializeToString(),
        "once only",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_large_message_that_is_wrong_ends_its_stream(kind: str) -> None:
    """As a small one does, with the same words."""
    data, words = WRONG[kind]
    async with serving() as server, stream_to(server) as stream, stub_of(server.port) as _:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{server.port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                "/reidstream.v1.EmbeddingService/EmbedStream"
            )
            call = method()
            opening = Request(session_open=session_pb2.SessionOpen(session_id=bytes(16), options=OPTIONS))
            await call.write(opening.SerializeToString())
            await call.read()
            await call.write(data)
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert words in await call.details()
        await stream.open()
        await stream.call.write(frame(5))
        assert (await stream.result()).frame_id == 5


async def test_a_large_frame_that_is_wrong_is_answered_and_its_stream_goes_on() -> None:
    """And so does a single call's, with a status."""
    bad = frame_pb2.Frame()
    bad.CopyFrom(RAW)
    bad.raw.width = 9999
    async with serving() as server, stream_to(server) as stream, stub_of(server.port) as stub:
        await stream.open()
        await stream.call.write(Request(frame=bad))
        await stream.call.write(frame(2))
        first, second = await stream.result(), await stream.result()
        assert "bytes are needed" in first.error.message
        assert (second.frame_id, second.HasField("error")) == (2, False)
        with pytest.raises(grpc.aio.AioRpcError, match="bytes are needed"):
            await stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=bad))


async def test_a_stream_must_not_begin_with_a_large_message() -> None:
    """An opening is small, so nobody parses it."""
    async with serving() as server, stream_to(server) as stream:
        await stream.call.write(Request(frame=RAW))
        status, details = await stream.refusal()
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        assert "it must be session_open" in details


async def test_nothing_stays_of_a_stream_that_ends_while_its_message_waits() -> None:
    """Neither of the session nor of the message; and the next one is served."""
    gate = Gate()
    async with blocked(gate=gate) as (server, stream, waiting), stub_of(server.port) as stub:
        await stream.call.write(Request(frame=RAW))
        single = stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=RAW))
        await until(lambda: waiting.waiting == 2)
        stream.call.cancel()
        single.cancel()
        await until(lambda: waiting.waiting == 0)
        await until(lambda: (server.embedding.open_streams, server.runtime.open_sessions) == (0, 0))
        gate.opened.set()
        assert (await stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=RAW))).result.frame_id == 1


async def test_a_server_stops_while_messages_wait() -> None:
    """Every call ends, although the thread is still at work."""
    gate = Gate()
    async with blocked(gate=gate) as (server, stream, waiting), stub_of(server.port) as stub:
        await stream.call.write(Request(frame=RAW))
        single = stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=RAW))
        await until(lambda: waiting.waiting == 2)
        await server.stop(0.0)
        assert await stream.call.code() is not grpc.StatusCode.OK
        assert await single.code() is not grpc.StatusCode.OK
        await until(lambda: server.embedding.open_streams == 0)
        assert (waiting.waiting, gate.opened.is_set()) == (0, False)
        gate.opened.set()
