"""Bad input: each kind gets a clear, specific answer, and everything else goes on unharmed."""

from __future__ import annotations

import math
import struct
import zlib

import grpc
import numpy as np
import pytest

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.errors import Refusal
from tests.support.harness import (
    JPEG,
    box,
    encode,
    frame,
    opening,
    picture,
    raw_image,
    real_engine,
    serving,
    stream_to,
    stub_of,
    until,
    write_while_it_lasts,
)


def _huge_png() -> bytes:
    """A PNG whose header claims 100,000 x 100,000 pixels, and nothing behind it."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _huge_jpeg() -> bytes:
    """A real JPEG whose frame header was changed to 65,000 x 65,000 pixels."""
    start = JPEG.index(b"\xff\xc0")
    return JPEG[: start + 5] + struct.pack(">HH", 65_000, 65_000) + JPEG[start + 9 :]


def _cmyk_jpeg() -> bytes:
    """The frame header of a JPEG with four components."""
    start = JPEG.index(b"\xff\xc0")
    components = b"".join(bytes((i, 0x11, 0)) for i in range(1, 5))
    return JPEG[:start] + b"\xff\xc0" + struct.pack(">HBHHB", 20, 8, 64, 64, 4) + components + JPEG[start + 19 :]


BAD_IMAGES: dict[str, tuple[bytes, frame_pb2.ErrorReason.ValueType, str]] = {
    "garbage": (b"\x00\x01garbage" * 40, frame_pb2.ERROR_REASON_INVALID_IMAGE, "unknown format"),
    "truncated": (JPEG[: len(JPEG) // 2], frame_pb2.ERROR_REASON_INVALID_IMAGE, ""),
    "empty": (b"", frame_pb2.ERROR_REASON_INVALID_IMAGE, "empty"),
    "huge_png": (_huge_png(), frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE, "10000000000 pixels"),
    "huge_jpeg": (_huge_jpeg(), frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE, "4225000000 pixels"),
    "cmyk": (_cmyk_jpeg(), frame_pb2.ERROR_REASON_UNSUPPORTED_IMAGE, "CMYK"),
    "png16": (
        encode(picture().astype(np.uint16) * 256, ".png"),  # type: ignore[arg-type]  # sixteen bits on purpose
        frame_pb2.ERROR_REASON_UNSUPPORTED_IMAGE,
        "16",
    ),
    "gif": (b"GIF89a" + bytes(64), frame_pb2.ERROR_REASON_UNSUPPORTED_IMAGE, "GIF"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
async def test_a_bad_image_is_answered_and_its_neighbours_are_embedded(kind: str) -> None:
    """The stream goes on, and the answer says what was wrong."""
    image, reason, words = BAD_IMAGES[kind]
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        for message in (frame(1), frame(2, image=image), frame(3)):
            await stream.call.write(message)
        before, bad, after = [await stream.result() for _ in range(3)]
    assert (before.HasField("error"), after.HasField("error")) == (False, False)
    assert frame_pb2.ErrorReason.Name(bad.error.reason) == frame_pb2.ErrorReason.Name(reason)
    assert bad.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert words.lower() in bad.error.message.lower()
    assert len(bad.error.message) > 10


async def test_a_one_pixel_image_is_embedded() -> None:
    """Small is not wrong: the whole of a 1x1 image is a crop."""
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1, image=encode(picture(1, 1), ".png"), boxes=[box(0, 0, 1, 1)]))
        result = await stream.result()
    assert [item.outcome for item in result.boxes] == [frame_pb2.OUTCOME_EMBEDDED]


BAD_BOXES: dict[str, tuple[image_pb2.Box, int]] = {
    "nan": (box(math.nan, 0, 10, 10), frame_pb2.OUTCOME_INVALID_BOX),
    "infinite": (box(0, 0, math.inf, 10), frame_pb2.OUTCOME_INVALID_BOX),
    "minus infinite": (box(-math.inf, 0, 10, 10), frame_pb2.OUTCOME_INVALID_BOX),
    "inverted": (box(50, 50, 10, 90), frame_pb2.OUTCOME_INVALID_BOX),
    "empty": (box(50, 50, 50, 50), frame_pb2.OUTCOME_INVALID_BOX),
    "missing": (image_pb2.Box(), frame_pb2.OUTCOME_INVALID_BOX),
    "outside": (box(1000, 1000, 1100, 1200), frame_pb2.OUTCOME_OUTSIDE_FRAME),
    "far outside": (box(1e30, 1e30, 2e30, 2e30), frame_pb2.OUTCOME_OUTSIDE_FRAME),
    "sub-pixel": (box(20.1, 20.1, 20.3, 20.3), frame_pb2.OUTCOME_TOO_SMALL),
    "huge": (box(-1e30, -1e30, 1e30, 1e30), frame_pb2.OUTCOME_EMBEDDED),
}


async def test_each_bad_box_has_its_outcome_and_the_good_ones_keep_their_rows() -> None:
    """Good boxes between bad ones are embedded; rows are not shifted."""
    boxes = []
    for bad, _ in BAD_BOXES.values():
        boxes += [box(10, 10, 60, 120), bad]
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1, boxes=boxes))
        result = await stream.result()
    expected = [outcome for _, outcome in BAD_BOXES.values()]
    assert [item.outcome for item in result.boxes[1::2]] == expected
    assert [item.outcome for item in result.boxes[::2]] == [frame_pb2.OUTCOME_EMBEDDED] * len(expected)
    rows = np.frombuffer(result.blocks[0].data, "<f4").reshape(result.blocks[0].count, -1)
    good = [rows[item.row] for item in result.boxes[::2]]
    assert all(np.array_equal(good[0], row) for row in good)
    assert result.blocks[0].count == len(expected) + 1


async def test_no_boxes_and_ten_thousand_boxes() -> None:
    """Nothing asked is answered with nothing; too much is refused with both numbers."""
    async with serving(max_boxes_per_frame=1000) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1, boxes=[]))
        await stream.call.write(frame(2, boxes=[box(0, 0, 5, 5)] * 10_000))
        await stream.call.write(frame(3))
        none, many, after = [await stream.result() for _ in range(3)]
    assert (none.HasField("error"), len(none.boxes), len(none.blocks)) == (False, 0, 0)
    assert many.error.reason == frame_pb2.ERROR_REASON_TOO_MANY_BOXES
    assert "10000" in many.error.message
    assert "1000 " in many.error.message
    assert not after.HasField("error")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 9000}, "bytes"),
        ({"stride": 10}, "stride"),
        ({"width": 0}, "0"),
        ({"format": image_pb2.PIXEL_FORMAT_UNSPECIFIED}, "format"),
        ({"format": image_pb2.PIXEL_FORMAT_NV12, "width": 319}, "even"),
        ({"offset": 2**32 - 1}, "bytes"),
    ],
)
async def test_raw_pixels_that_do_not_fit_their_dimensions_are_refused(change: dict[str, int], words: str) -> None:
    """Nothing is read beyond the data."""
    image = raw_image(picture())
    for name, value in change.items():
        setattr(image, name, value)
    message = frame(1)
    message.frame.raw.CopyFrom(image)
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(message)
        error = (await stream.result()).error
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert words in error.message


async def test_a_frame_without_an_image_is_refused() -> None:
    """The answer names the choices."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=1)))
        error = (await stream.result()).error
    assert "encoded, raw, crops" in error.message


async def test_repeated_and_falling_frame_ids_are_refused_one_by_one() -> None:
    """Each under the id that it carries; the next good one is embedded."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        for number in (5, 5, 4, 6):
            await stream.call.write(frame(number))
        results = [await stream.result() for _ in range(4)]
    assert [result.frame_id for result in results] == [5, 5, 4, 6]
    assert [result.error.reason for result in results] == [
        0,
        frame_pb2.ERROR_REASON_INVALID_FRAME_ID,
        frame_pb2.ERROR_REASON_INVALID_FRAME_ID,
        0,
    ]


async def test_a_bad_ready_crop_fails_alone() -> None:
    """Crops have pictures of their own; garbage and a truncated one harm no other."""
    good = encode(picture(64, 128))
    crops = [image_pb2.Crop(encoded=image_pb2.EncodedImage(data=data)) for data in (good, b"junk", good[:-200], good)]
    message = service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=1, crops=frame_pb2.CropList(crops=crops)))
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(message)
        result = await stream.result()
    embedded, bad = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_INVALID_IMAGE
    assert [item.outcome for item in result.boxes] == [embedded, bad, bad, embedded]
    assert [item.row for item in result.boxes if item.HasField("row")] == [0, 1]


CALL_FAULTS: dict[str, tuple[service_pb2.EmbedStreamRequest, grpc.StatusCode, str]] = {
    "frame first": (frame(1), grpc.StatusCode.INVALID_ARGUMENT, "session_open"),
    "empty first": (service_pb2.EmbedStreamRequest(), grpc.StatusCode.INVALID_ARGUMENT, "session_open"),
    "session id": (opening(session_id=b"short"), grpc.StatusCode.INVALID_ARGUMENT, "session_id"),
    "camera id": (opening(camera_id=""), grpc.StatusCode.INVALID_ARGUMENT, "camera_id"),
    "budget": (opening(latency_budget_ms=0), grpc.StatusCode.INVALID_ARGUMENT, "latency_budget_ms"),
    "priority": (opening(priority=77), grpc.StatusCode.INVALID_ARGUMENT, "priority"),
    "model": (opening(models=[session_pb2.ModelChoice(name="no-such")]), grpc.StatusCode.NOT_FOUND, "no-such"),
    "space": (
        opening(models=[session_pb2.ModelChoice(expected_space_id="1:00")]),
        grpc.StatusCode.FAILED_PRECONDITION,
        "1:00",
    ),
    "tracks": (
        opening(track_options=session_pb2.TrackOptions()),
        grpc.StatusCode.INVALID_ARGUMENT,
        "timeout_ms",
    ),
}


@pytest.mark.parametrize("kind", CALL_FAULTS)
async def test_a_call_that_cannot_be_agreed_ends_with_its_status(kind: str) -> None:
    """The status names what was wrong; another stream beside it is not disturbed."""
    message, code, words = CALL_FAULTS[kind]
    async with serving() as server, stream_to(server) as neighbour, stream_to(server) as stream:
        await neighbour.open()
        await stream.call.write(message)
        status, details = await stream.refusal()
        await neighbour.call.write(frame(1))
        result = await neighbour.result()
    assert (status, words in details) == (code, True)
    assert not result.HasField("error")


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (opening(), grpc.StatusCode.INVALID_ARGUMENT, "once"),
        (service_pb2.EmbedStreamRequest(), grpc.StatusCode.INVALID_ARGUMENT, "empty"),
        (
            service_pb2.EmbedStreamRequest(end_tracks=session_pb2.EndTracks(track_ids=[1])),
            grpc.StatusCode.FAILED_PRECONDITION,
            "EndTracks",
        ),
    ],
)
async def test_a_protocol_fault_later_ends_the_stream(
    message: service_pb2.EmbedStreamRequest, code: grpc.StatusCode, words: str
) -> None:
    """The stream's own status is for protocol faults."""
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(message)
        status, details = await stream.refusal()
    assert (status, words in details) == (code, True)


async def test_a_second_opening_ends_a_stream_that_has_read_nothing() -> None:
    """At the server at once. The status comes behind what was written before: a client that does not read that has no
    status, by gRPC's rules.
    """
    async with serving() as server, stream_to(server) as stream:
        await stream.call.write(opening())
        await stream.call.write(opening())
        refused = {"reason": Refusal.INVALID_CALL.value}
        await until(lambda: server.parts.registry.get_sample_value("reidstream_calls_refused_total", refused))
        await until(lambda: server.embedding.open_streams == 0)
        answer = await stream.read()
        assert answer is not None
        assert answer.HasField("session_opened")
        assert await stream.refusal() == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "session_open may be sent once only, as the first message",
        )


async def test_a_message_over_the_limit_ends_the_call_and_no_other() -> None:
    """The limit is published, and grpc's own answer names both numbers."""
    async with serving(max_message_bytes=2**20) as server, stream_to(server) as neighbour, stream_to(server) as stream:
        await neighbour.open()
        opened = await stream.open()
        assert opened.limits.max_message_bytes == 2**20
        await stream.call.write(frame(1, image=bytes(2**21)))
        status, details = await stream.refusal()
        await neighbour.call.write(frame(1))
        assert not (await neighbour.result()).HasField("error")
    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(2**20) in details


async def test_an_answer_over_the_limit_is_refused_before_it_is_computed() -> None:
    """As a fault of the frame."""
    async with serving(max_answer_bytes=100) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        assert (await stream.result()).error.reason == frame_pb2.ERROR_REASON_ANSWER_TOO_LARGE


async def test_one_session_too_many_is_refused() -> None:
    """With the bound; when one leaves, the next may come."""
    async with serving(max_sessions=1) as server, stream_to(server) as stream:
        await stream.open()
        async with stream_to(server) as second:
            await second.call.write(opening())
            status, details = await second.refusal()
        assert (status, "1 session" in details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        stream.call.cancel()
        await until(lambda: server.embedding.open_streams == 0)
        async with stream_to(server) as third:
            await third.open()


async def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    """Its frames are dropped, its session is forgotten, the others are answered."""
    async with serving() as server, stream_to(server) as neighbour:
        await neighbour.open()
        async with stream_to(server) as stream:
            await stream.open()
            for number in range(1, 9):
                await stream.call.write(frame(number))
            stream.call.cancel()
        await until(lambda: server.runtime.open_sessions == 1)
        await neighbour.call.write(frame(1))
        assert not (await neighbour.result()).HasField("error")
        await until(lambda: server.runtime.statistics().frames == 0)
        left = server.runtime.statistics()
    assert (left.queue_boxes, left.queue_bytes, left.staged_bytes, left.parked_frames) == (0, 0, 0, 0)


async def test_a_client_that_never_reads_stops_itself_only() -> None:
    """Its answers are bounded, its neighbours are served, and in the end its stream is ended."""
    boxes = [box(0, 0, 60, 120)] * 500
    async with (
        serving(stall_timeout_s=1.0, max_boxes_per_frame=500) as server,
        stream_to(server) as neighbour,
        stream_to(server) as stream,
    ):
        await neighbour.open()
        await stream.open(window=session_pb2.Window(frames=4))
        # More than the sockets hold of answers, less than they hold of frames.
        await write_while_it_lasts(stream, [frame(number, boxes=boxes) for number in range(1, 61)])
        await until(lambda: server.runtime.open_sessions == 1)
        await until(lambda: server.runtime.statistics().frames == 0)
        await neighbour.call.write(frame(1))
        assert not (await neighbour.result()).HasField("error")
        status, details = await stream.refusal()  # it reads again: what was written, then why the stream ended
    assert (status, "not read" in details) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)


async def test_unary_errors_are_the_calls_status() -> None:
    """One frame, one answer, the same checks."""
    bad = frame_pb2.Frame(encoded=image_pb2.EncodedImage(data=b""))
    options = session_pb2.EmbedOptions(camera_id="c")
    async with serving() as server, stub_of(server.port) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Embed(service_pb2.EmbedRequest(options=options, frame=bad))
        good = await stub.Embed(service_pb2.EmbedRequest(options=options, frame=frame(9).frame))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.GetModel(service_pb2.GetModelRequest(name="no-such"))
        with pytest.raises(grpc.aio.AioRpcError) as long:
            await stub.GetModel(service_pb2.GetModelRequest(name="n" * 129))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    assert long.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert long.value.details() == "name has 129 bytes; it may have at most 128"
    assert good.result.frame_id == 9
    assert [item.outcome for item in good.result.boxes] == [frame_pb2.OUTCOME_EMBEDDED] * 2
