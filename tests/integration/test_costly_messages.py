"""Messages that would cost much before they are understood: refused before they are parsed, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import cv2
import grpc
import numpy as np
import pytest

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, service_pb2_grpc, session_pb2
from tests.support.harness import JPEG, encode, frame, opening, serving, stream_to, stub_of

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
SAID = "the message has more than 393216 bytes beside its pixels"


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
        bounds = {"max_boxes_per_frame": most, "max_queue_boxes": 100_000, "max_tracks_per_session": 0}
        async with serving(**bounds) as server, stub_of(server.port) as stub:
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
        assert await call.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}  # the client's own word
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
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


def progressive(width: int, height: int, more: int) -> bytes:
    """A grey JPEG with so many scans more than it needs."""
    data = encode(np.zeros((height, width), np.uint8), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


async def test_scans_are_judged_before_anything_is_decoded() -> None:
    """By what they go over in all: a large picture may have as many as encoders write, a small one hundreds."""
    limit = 500_000
    async with serving(max_image_pixels=limit) as server, stream_to(server) as stream:
        await stream.open()
        pictures = [progressive(1000, 500, 0), progressive(1000, 500, 11), progressive(100, 100, 400)]
        for number, picture in enumerate(pictures):
            await stream.call.write(frame(number, image=picture))
        fits, refused, small = [await stream.result() for _ in pictures]
    assert not fits.HasField("error")
    assert refused.error.reason == frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE
    assert refused.error.message == (
        "JPEG scans go over 8500000 pixels in all; send a baseline JPEG, which has one scan; the limit is 8000000 "
        "(16 * max_image_pixels)"
    )
    assert not small.HasField("error")


async def test_scans_of_ready_crops_are_judged_together() -> None:
    """Each is small, and they are many."""
    crop = image_pb2.Crop(encoded=image_pb2.EncodedImage(data=progressive(100, 100, 400)))
    async with serving(max_image_pixels=500_000) as server, stream_to(server) as stream:
        await stream.open()
        for number, count in ((1, 1), (2, 3)):
            crops = frame_pb2.CropList(crops=[crop] * count)
            await stream.call.write(service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=number, crops=crops)))
        fits, refused = await stream.result(), await stream.result()
    assert not fits.HasField("error")
    assert "JPEG scans go over" in refused.error.message


async def test_headers_of_ready_crops_have_a_budget_together() -> None:
    """A thousand headers of a thousand segments would hold the event loop for a second. The stream goes on."""
    data = b"\xff\xd8" + b"\xff\xfe\0\2" * 1000 + JPEG[2:]
    crops = {
        1: [data] * 4,
        2: [data] * 8,
        3: [b"\xff\xd8" + b"\xff\xfe\0\2" * 1024] * 8,
        4: [JPEG] * 500,
    }
    async with serving(max_image_pixels=100_000_000) as server, stream_to(server) as stream:
        await stream.open()
        results = {}
        for number, pictures in crops.items():
            found = [image_pb2.Crop(encoded=image_pb2.EncodedImage(data=picture)) for picture in pictures]
            listed = frame_pb2.CropList(crops=found)
            await stream.call.write(
                service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=number, crops=listed))
            )
            results[number] = await stream.result()
    assert [number for number, result in results.items() if result.HasField("error")] == [2, 3]
    for number in (2, 3):
        error = results[number].error
        assert error.reason == frame_pb2.ERROR_REASON_INVALID_IMAGE
        assert "the headers of the crops have more than 4352 segments" in error.message
