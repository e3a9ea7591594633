"""Messages that would cost much before they are understood: refused before they are parsed, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, service_pb2_grpc, session_pb2
from tests.support.harness import JPEG, frame, opening, serving, stream_to, stub_of

OPTIONS = session_pb2.EmbedOptions(camera_id="c")
MANY = [image_pb2.Box()] * 200_000
UNARY = {
    "boxes": service_pb2.EmbedRequest(options=OPTIONS, frame=frame_pb2.Frame(boxes=MANY)),
    "class ids": service_pb2.EmbedRequest(
        options=session_pb2.EmbedOptions(models=[session_pb2.ModelChoice(class_ids=range(500_000))])
    ),
    "a name": service_pb2.EmbedRequest(options=session_pb2.EmbedOptions(camera_id="c" * 400_000)),
}
STREAMED = {
    "class ids": opening(box_filter=session_pb2.BoxFilter(class_ids=range(500_000))),
    "boxes": service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(boxes=MANY)),
    "tracks": service_pb2.EmbedStreamRequest(end_tracks=session_pb2.EndTracks(track_ids=range(500_000))),
}
SAID = "the message has more than 321536 bytes beside its pixels"


@asynccontextmanager
async def compressing(port: int) -> AsyncIterator[service_pb2_grpc.EmbeddingServiceAsyncStub]:
    options = [("grpc.max_send_message_length", -1)]
    compression = grpc.Compression.Gzip
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options, compression=compression) as channel:
        yield service_pb2_grpc.EmbeddingServiceStub(channel)


@pytest.mark.parametrize("kind", UNARY)
async def test_a_call_whose_message_is_mostly_structure_ends(kind: str) -> None:
    """With the bound, and what may have passed it."""
    async with serving() as server, stub_of(server.port) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Embed(UNARY[kind])
        good = await stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1).frame))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert SAID in str(caught.value.details())
    assert "max_boxes_per_frame" in str(caught.value.details())
    assert good.result.frame_id == 1


@pytest.mark.parametrize("kind", STREAMED)
async def test_a_stream_ends_whose_message_is_mostly_structure(kind: str) -> None:
    """The first message, or any other. Its neighbour goes on."""
    async with serving() as server, stream_to(server) as neighbour, stream_to(server) as stream:
        await neighbour.open()
        if kind != "class ids":
            await stream.open()
        await stream.call.write(STREAMED[kind])
        status, details = await stream.refusal()
        await neighbour.call.write(frame(1))
        assert not (await neighbour.result()).HasField("error")
    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert SAID in details


async def test_the_bound_on_structure_follows_the_bound_on_boxes() -> None:
    """A server that takes more boxes reads more."""
    boxes = MANY[:50_000]
    message = service_pb2.EmbedRequest(options=OPTIONS, frame=frame_pb2.Frame(boxes=boxes))
    message.frame.encoded.data = JPEG
    for most, outcomes in ((100, None), (50_000, len(boxes))):
        async with serving(max_boxes_per_frame=most, max_queue_boxes=100_000) as server, stub_of(server.port) as stub:
            if outcomes is None:
                with pytest.raises(grpc.aio.AioRpcError, match="beside its pixels"):
                    await stub.Embed(message)
            else:
                assert len((await stub.Embed(message)).result.boxes) == outcomes


async def test_compressed_messages_are_refused_unless_the_operator_wants_them() -> None:
    """Since 64 KiB may inflate to a message of the largest size. Clients that exist compress nothing."""
    request = service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1, image=JPEG + bytes(10_000)).frame)
    async with serving() as server, compressing(server.port) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Embed(request)
        call = stub.EmbedStream()
        with suppress(grpc.RpcError):  # whether the status comes before the message is gone is nobody's choice
            await call.write(opening(camera_id="c" * 100))
        assert await call.code() == caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "gzip" in str(caught.value.details())
    async with serving(accept_compression=True) as server, compressing(server.port) as stub:
        assert (await stub.Embed(request)).result.frame_id == 1


async def test_a_compressed_message_is_bounded_when_it_is_inflated() -> None:
    """By its length, and by its structure."""
    large = service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1, image=bytes(2 << 20)).frame)
    async with serving(accept_compression=True, max_message_bytes=1 << 20) as server, compressing(server.port) as stub:
        for message, status in (
            (large, grpc.StatusCode.RESOURCE_EXHAUSTED),
            (UNARY["boxes"], grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Embed(message)
            assert caught.value.code() == status
