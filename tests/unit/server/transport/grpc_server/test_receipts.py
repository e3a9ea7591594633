"""Who holds what gRPC has received: counted on a real port, with messages that lack their ends."""

from __future__ import annotations

import asyncio

import grpc

from reidstream_proto.v1 import frame_pb2, service_pb2, service_pb2_grpc
from reidstream_server.app import RunningServer
from reidstream_server.transport.grpc_server.receipts import Holder, Receipts
from reidstream_server.transport.grpc_server.server import GrpcServer
from tests.support.gate import Gate
from tests.support.half_messages import half_messages
from tests.support.harness import RawStream, frame, picture, raw_image, serving, stream_to, until

STREAM = "/reidstream.v1.EmbeddingService/EmbedStream"
MIB = 2**20


def receipts_of(server: RunningServer) -> Receipts:
    """Of the gRPC door."""
    door = server.doors[0]
    assert isinstance(door, GrpcServer)
    return door.receipts


def holder(receipts: Receipts, peer: str) -> Holder:
    """What one connection holds; nothing before it is there."""
    nothing = Holder(peer=peer, bytes=0, calls=0)
    return next((found for found in receipts.holders() if found.peer == peer), nothing)


async def send(stream: RawStream, count: int) -> None:
    """Frames of 1 MiB, and their answers."""
    for number in range(count):
        await stream.call.write(frame(number, bytes(MIB)))
        await stream.read()


async def test_what_was_sent_and_not_read_is_held() -> None:
    """A message without its end; what comes whole is read, and held no more."""
    async with serving() as server, half_messages(server.port) as half, stream_to(server) as whole:
        receipts = receipts_of(server)
        half.begin(STREAM, 4 * MIB, 3 * MIB)
        await half.send()
        await whole.open()
        await send(whole, 20)
        await until(lambda: holder(receipts, half.peer).bytes >= 3 * MIB)
        first, *others = receipts.holders()
        assert first.peer == half.peer
        assert 3 * MIB <= first.bytes < 3 * MIB + 64 * 1024
        assert [other.bytes < MIB // 4 for other in others] == [True]
        assert (first.calls, others[0].calls) == (1, 1)


async def test_the_difference_is_zero_again_when_little_is_held() -> None:
    """Else overhead would count as held, more of it from year to year."""
    async with serving() as server, half_messages(server.port) as half:
        receipts = receipts_of(server)
        half.begin(STREAM, 4 * MIB, MIB)
        await half.send()
        await until(lambda: holder(receipts, half.peer).bytes >= MIB)
        receipts.settle(little=False)
        assert holder(receipts, half.peer).bytes >= MIB
        receipts.settle(little=True)
        assert holder(receipts, half.peer).bytes == 0


async def test_calls_that_are_ended_say_why() -> None:
    """Every call of that connection, and of no other; its session is given back."""
    async with serving() as server, half_messages(server.port) as other, stream_to(server) as stream:
        receipts = receipts_of(server)
        other.begin(STREAM, MIB, 100)
        await other.send()
        await stream.open()
        (peer,) = (found.peer for found in receipts.holders() if found.peer != other.peer)
        await asyncio.to_thread(receipts.end_calls, peer, "too much; send less")
        assert await stream.refusal() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much; send less")
        await until(lambda: not receipts.ending(peer))
        await until(lambda: server.runtime.open_sessions == 0)
        assert (holder(receipts, other.peer).calls, other.over) == (1, 0)


async def test_a_connection_that_is_closed_is_forgotten() -> None:
    """There is no end of new ones."""
    async with serving() as server:
        receipts = receipts_of(server)
        async with half_messages(server.port) as half:
            half.begin(STREAM, MIB, 100)
            await half.send()
            await until(lambda: holder(receipts, half.peer).calls == 1)
        await until(lambda: server.embedding.open_streams == 0)
        await until(lambda: not receipts.holders())
        receipts.settle(little=True)
        assert receipts.known == 0


async def test_single_calls_are_known_too() -> None:
    """Their messages are read, so they hold nothing."""
    async with serving() as server:
        receipts = receipts_of(server)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub: service_pb2_grpc.EmbeddingServiceAsyncStub = service_pb2_grpc.EmbeddingServiceStub(channel)
            request = service_pb2.EmbedRequest(frame=frame_pb2.Frame(raw=raw_image(picture(1280, 800))))
            request.options.camera_id = "gate"
            await stub.Embed(request)
            (found,) = receipts.holders()
            assert (found.bytes < MIB // 4, found.calls) == (True, 0)


async def test_a_large_message_is_held_until_it_is_parsed() -> None:
    """By its connection: what waits for its turn is blamed on nobody else. Without its stream it is not held either."""
    gate = Gate()
    large = service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(raw=raw_image(picture(2048, 1536))))
    async with serving() as server, stream_to(server) as one, stream_to(server) as other:
        receipts, apart = receipts_of(server), server.embedding.apart
        blocking = asyncio.create_task(apart.do("nobody", lambda: gate.wait(0)))
        for stream in (one, other):
            await stream.open()
            await stream.call.write(large)
        await until(lambda: apart.waiting == 2)
        assert sum(found.bytes for found in receipts.holders()) > 17 * MIB
        other.call.cancel()
        await until(lambda: apart.waiting == 1)
        assert 8 * MIB < sum(found.bytes for found in receipts.holders()) < 10 * MIB
        gate.opened.set()
        await blocking
        await one.result()
        await until(lambda: all(found.bytes < MIB for found in receipts.holders()))
