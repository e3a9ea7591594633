"""Clients that say anything at all: garbage, mutated messages, messages out of turn, and partings without a word.

Each seed is a crowd of hostile calls beside one stream that behaves. Whatever the crowd does, the neighbour must not
notice, every call must end with a status that says what was wrong, and nothing may be left of any of it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, fake_embedding
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, Image, PixelBox
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_proto.admin.v1 import admin_pb2
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer, running_server
from reidstream_server.loading import Engines
from tests.support.harness import (
    JPEG,
    RawStream,
    box,
    encode,
    frame,
    opening,
    picture,
    raw_image,
    settings,
    stream_to,
    until,
)
from tests.support.patience import HANG_S

Request = service_pb2.EmbedStreamRequest
RawCall = grpc.aio.StreamStreamCall[bytes, bytes]

SERVICE = "/reidstream.v1.EmbeddingService/"
ADMIN = "/reidstream.admin.v1.AdminService/"
HEALTH = "/grpc.health.v1.Health/"
CALLS = 250
AT_ONCE = 12
SMALL = encode(picture(32, 48), ".png")
LARGE, HUGE = encode(picture(400, 230)), encode(picture(400, 300))  # more than may be held; than may be
STATUSES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # a frame that a unary call cannot have embedded now
    grpc.StatusCode.DEADLINE_EXCEEDED,  # a frame that is older than its budget, in a unary call
    grpc.StatusCode.ABORTED,  # another call took the session over
    grpc.StatusCode.UNAVAILABLE,  # the server is leaving
    grpc.StatusCode.CANCELLED,  # we left
}
# What a grpc.aio client may be told instead, if the server ends a call while it still writes.
LOST_BY_GRPC = "Internal error from Core"
INTEGERS = (0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
NUMBERS = (0.0, -1.0, 0.5, 1e-45, 1e30, -1e30, 3.4e38, math.inf, -math.inf, math.nan)
TEXTS = ("", "x", "\n", "a\x00b", "gate\r\nerror event=forged", "é" * 200, "\U0001f3a5" * 64, "fake", "%s{}")


def blobs(rng: random.Random) -> bytes:
    """Bytes for any field of bytes: pictures, broken ones, sixteen of them, none."""
    cut = rng.randrange(1, len(JPEG))
    return rng.choice(
        (b"", JPEG, SMALL, LARGE, HUGE, JPEG[:cut], JPEG[cut:], SMALL[:20], rng.randbytes(1), bytes(16), bytes(5000))
    )


def valid(rng: random.Random, number: int) -> Request:
    """A frame of any kind that is right."""
    match rng.randrange(6):
        case 0:
            return frame(number, boxes=[])
        case 1:
            message = frame(number)
            message.frame.raw.CopyFrom(raw_image(picture(16, 12)))
            return message
        case 2:
            crops = [image_pb2.Crop(encoded=image_pb2.EncodedImage(data=SMALL)) for _ in range(rng.randrange(6))]
            return Request(frame=frame_pb2.Frame(frame_id=number, crops=frame_pb2.CropList(crops=crops)))
        case 3:
            return frame(number, boxes=[box(i, i, 40 + i, 90 + i) for i in range(rng.randrange(30))])
        case 4:
            message = frame(number)
            message.frame.raw.CopyFrom(raw_image(picture(16, 12)))
            message.frame.raw.data += bytes(rng.choice((1, 1000, 500_000)))  # more than it says
            return message
        case _:
            return frame(number, image=rng.choice((JPEG, JPEG, LARGE)))


def mutate_field(rng: random.Random, message: Message) -> None:
    """Give one field, at any depth, a value of its type that nobody in their senses would send."""
    here = message
    while True:
        field = rng.choice(here.DESCRIPTOR.fields)
        if field.message_type is None:
            break
        held = list(getattr(here, field.name)) if field.is_repeated else [getattr(here, field.name)]
        if field.is_repeated and (not held or rng.random() < 0.3):
            getattr(here, field.name).extend([held[0] if held else field.message_type._concrete_class()] * 40)
            return
        if not field.is_repeated and rng.random() < 0.1:
            here.ClearField(field.name)
            return
        if not field.is_repeated:
            held[0].SetInParent()
        here = rng.choice(held)
        if not here.DESCRIPTOR.fields:
            return
    values = {
        FieldDescriptor.CPPTYPE_STRING: lambda: rng.choice(TEXTS),
        FieldDescriptor.CPPTYPE_FLOAT: lambda: rng.choice(NUMBERS),
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: rng.choice(NUMBERS),
        FieldDescriptor.CPPTYPE_BOOL: lambda: rng.random() < 0.5,
        FieldDescriptor.CPPTYPE_ENUM: lambda: rng.choice((-(2**31), -1, 1, 2, 3, 99, 2**31 - 1)),
        FieldDescriptor.CPPTYPE_UINT32: lambda: rng.choice([n for n in INTEGERS if n < 2**32]),
        FieldDescriptor.CPPTYPE_INT32: lambda: rng.choice([n for n in INTEGERS if n < 2**31]),
        FieldDescriptor.CPPTYPE_UINT64: lambda: rng.choice(INTEGERS),
    }
    make: Callable[[], object] = values[field.cpp_type]
    if field.type == FieldDescriptor.TYPE_BYTES:
        make = lambda: blobs(rng)  # noqa: E731 - beside its fellows
    if field.is_repeated:
        getattr(here, field.name).extend([make() for _ in range(rng.choice((1, 2, 300)))])
    else:
        setattr(here, field.name, make())


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """The message's bytes, damaged, or with fields that do not exist."""
    at = rng.randrange(len(data) + 1)
    return rng.choice(
        (
            data[:at],
            data[:at] + rng.randbytes(1) + data[at + 1 :],
            data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:],
            data + data,
            data + b"\xc2\x3e\x05hello",  # field 1000
            data.replace(b"test-camera", b"\xff\xfe\x80-camera"),  # no UTF-8
            rng.randbytes(rng.randrange(200)),
        )
    )


def script_of(rng: random.Random) -> list[bytes]:
    """What one stream sends."""
    first = opening(
        ordering=rng.randrange(3),
        overload_policy=rng.randrange(4),
        priority=rng.randrange(4),
        window=session_pb2.Window(frames=rng.randrange(5), bytes=rng.choice((0, 1, 10_000))),
        session_id=rng.randbytes(16) if rng.random() < 0.9 else b"sixteen bytes id",
    )
    if rng.random() < 0.25:
        mutate_field(rng, first.session_open)
    script = [first.SerializeToString()]
    number = 0
    for _ in range(rng.randrange(14)):
        number += rng.choice((1, 1, 1, 1, 0, 5))
        message = valid(rng, number)
        kind = rng.random()
        if kind < 0.5:
            mutate_field(rng, message.frame)
        elif kind < 0.52:
            message = rng.choice((first, Request(), Request(end_tracks=session_pb2.EndTracks(track_ids=[1]))))
        script.append(message.SerializeToString())
    if rng.random() < 0.3:
        at = rng.randrange(len(script))
        script[at] = mutate_bytes(rng, script[at])
    if rng.random() < 0.1:
        rng.shuffle(script)
    return script


async def hostile_stream(rng: random.Random, port: int) -> None:
    """One stream: say it all, read some of it, and leave in one way or another."""
    script = script_of(rng)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: RawCall = channel.stream_stream(SERVICE + "EmbedStream")()
        patience = rng.choice((0, 1, 3, None, None, None))  # answers to read before leaving; without an end, 1 comes
        half_close = patience not in (0, 1) or rng.random() < 0.5
        writing = asyncio.create_task(say(call, script, half_close=half_close))
        answers = await hear(call, patience)
        if patience is not None:
            if rng.random() < 0.5:
                call.cancel()  # else: the connection goes
            await writing
            return
        await writing
        status, details = await call.code(), await call.details() or ""
        assert status in STATUSES or details == LOST_BY_GRPC, (status, details)
        assert len(details) < 3000
        if status == grpc.StatusCode.OK:
            check_answers(script, answers)


async def say(call: RawCall, script: Sequence[bytes], *, half_close: bool) -> None:
    """Send as long as the call lasts."""
    try:
        for message in script:
            await call.write(message)
        if half_close:
            await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
        pass  # the server, or we, ended the call


async def hear(call: RawCall, patience: int | None) -> list[service_pb2.EmbedStreamResponse]:
    """So many answers, or all."""
    answers: list[service_pb2.EmbedStreamResponse] = []
    try:
        while patience is None or len(answers) < patience:
            data: object = await call.read()
            if not isinstance(data, bytes):
                break
            answers.append(service_pb2.EmbedStreamResponse.FromString(data))
    except grpc.aio.AioRpcError:
        pass
    return answers


def check_answers(script: Sequence[bytes], answers: Sequence[service_pb2.EmbedStreamResponse]) -> None:
    """A stream that ended well has one answer to each of its frames, in order unless it asked for another order.

    One that was asked to leave has answers to its first frames, and what it sent after them was not looked at.
    """
    results = [answer.frame_result for answer in answers if answer.HasField("frame_result")]
    answered = [result.frame_id for result in results]
    if any(answer.HasField("drain") for answer in answers):
        script = script[: 1 + len(answered)]
    requests = [Request.FromString(data) for data in script]
    sent = [request.frame.frame_id for request in requests[1:]]
    if requests[0].session_open.ordering == session_pb2.ORDERING_AS_COMPLETED:
        assert sorted(answered) == sorted(sent)
    else:
        assert answered == sent
    for result in results:
        assert result.error.reason != frame_pb2.ERROR_REASON_INTERNAL, result
        rows = [(item.block, item.row) for item in result.boxes if item.HasField("row")]
        assert sorted(rows) == [(i, row) for i, block in enumerate(result.blocks) for row in range(block.count)]
        for block in result.blocks:
            width = 2 if block.dtype == frame_pb2.EMBEDDING_DTYPE_FLOAT16 else 4
            assert len(block.data) == block.count * block.dim * width > 0


async def hostile_call(rng: random.Random, port: int) -> None:
    """One unary call."""
    message: Message
    match rng.randrange(9):
        case 0:
            method, message = f"{SERVICE}GetModel", service_pb2.GetModelRequest(name="fake")
        case 1:
            method, message = f"{SERVICE}ListModels", service_pb2.ListModelsRequest()
        case 2 | 3 | 4:
            method, message = admin_call(rng)
        case 5:
            method, message = f"{HEALTH}Check", health_pb2.HealthCheckRequest(service="fake")
        case _:
            options = session_pb2.EmbedOptions(camera_id="test-camera")
            method = f"{SERVICE}Embed"
            message = service_pb2.EmbedRequest(options=options, frame=valid(rng, 1).frame)
    status, details = await said_to(rng, port, method, message)
    assert status in STATUSES, (status, details)


def admin_call(rng: random.Random) -> tuple[str, Message]:
    """One of either method, of an operator who means well."""
    if rng.random() < 0.5:
        return f"{ADMIN}GetSession", admin_pb2.GetSessionRequest(number=rng.randrange(CALLS))
    token = rng.choice(("", "1"))
    return f"{ADMIN}ListSessions", admin_pb2.ListSessionsRequest(page_size=rng.choice((0, 2)), page_token=token)


async def said_to(rng: random.Random, port: int, method: str, message: Message) -> tuple[grpc.StatusCode, str | None]:
    """Call it, perhaps with a field or with bytes that are wrong, and perhaps leave; how it ended."""
    if message.DESCRIPTOR.fields and rng.random() < 0.6:
        mutate_field(rng, message)
    data = message.SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        methods: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        call = methods(mutate_bytes(rng, data) if rng.random() < 0.4 else data)
        if rng.random() < 0.2:
            call.cancel()
        return await call.code(), await call.details()


async def behave(stream: RawStream, finished: asyncio.Event) -> int:
    """The neighbour: frames one after another, each with its right vectors, until the crowd is gone; how many."""
    await stream.open(camera_id="neighbour", window=session_pb2.Window(frames=4))
    image = parse_encoded(JPEG)
    expected = [fake_embedding(image, PixelBox(x1=x1, y1=10, x2=x1 + 50, y2=120), 32) for x1 in (10, 100)]
    boxes = [box(10, 10, 60, 120), box(100, 10, 150, 120)]
    number = 0
    while not finished.is_set() or number < 20:
        for ahead in (1, 2, 3):
            await stream.call.write(frame(number + ahead, boxes=boxes))
        for _ in range(3):
            number += 1
            result = await stream.result()
            assert (result.frame_id, result.HasField("error")) == (number, False)
            rows = np.frombuffer(result.blocks[0].data, "<f4").reshape(2, 32)
            np.testing.assert_array_equal(rows, expected)
    await stream.call.done_writing()
    assert await stream.read() is None
    return number


def is_poison(crop: Crop) -> bool:
    """Some boxes of the crowd's, none of the neighbour's."""
    return isinstance(crop, BoxCrop) and crop.box.x1 % 7 == 5


def is_refused(image: Image) -> bool:
    """Some pictures of the crowd's."""
    return isinstance(image, EncodedImage) and len(image.data) % 5 == 0 and image.data != JPEG


def assert_nothing_is_left(server: RunningServer, stager: FakeStager) -> None:
    """Not in the scheduler, not on the device, not in the service."""
    left = server.runtime.statistics()
    assert (left.sessions, left.frames, left.queue_boxes, left.queue_bytes) == (0, 0, 0, 0)
    assert (left.staged_bytes, left.staging_frames, left.parked_frames, left.timers) == (0, 0, 0, 0)
    (model,) = left.models
    assert (model.ready_crops, model.running_batches, model.running_crops, model.lost) == (0, 0, 0, False)
    assert stager.open_frames == 0
    assert server.embedding.open_streams == 0
    assert len(server.embedding._epochs) == 0
    assert not server.runtime.engine_died.done()


class Crowd:
    """A server with bounds so small that the crowd meets every one of them, and the crowd."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._places = asyncio.Semaphore(AT_ONCE)
        self.gone = 0
        self.stager = FakeStager(refuse=is_refused)
        self._engine = FakeEngine(max_batch=8, script=FakeScript(poison=is_poison))
        self._config = settings(
            max_boxes_per_frame=35,
            max_queue_boxes=70,
            max_image_pixels=100_000,
            max_staged_bytes=250_000,
            max_answer_bytes=4_000,
            open_timeout_s=0.5,
        )

    @asynccontextmanager
    async def server(self) -> AsyncIterator[RunningServer]:
        """The server; in the end nothing may be left, and nothing may have gone wrong on the quiet."""
        async with running_server(self._config, Engines(engines=(self._engine,), stager=self.stager)) as server:
            async with asyncio.timeout(HANG_S):
                yield server
            await until(lambda: server.runtime.open_sessions == 0 and server.runtime.statistics().frames == 0)
            await until(lambda: server.embedding.open_streams == 0)
            assert_nothing_is_left(server, self.stager)

    async def come(self, server: RunningServer) -> None:
        """Everybody, some at a time."""
        await asyncio.gather(*(self._one(number, server.port) for number in range(CALLS)))

    async def _one(self, number: int, port: int) -> None:
        rng = random.Random(f"{self._seed}.{number}")  # noqa: S311 - so that a failure can be run again
        async with self._places:
            await (hostile_call if rng.random() < 0.3 else hostile_stream)(rng, port)
        self.gone += 1


def assert_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    """Strangers must not be able to fill the log with faults that are none."""
    gc.collect()  # a task whose exception nobody took says so when it goes
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors


@pytest.mark.parametrize("seed", range(6))
async def test_a_hostile_crowd_disturbs_nobody_and_leaves_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """The neighbour has all its answers, right and in order; the server is as empty as before, and logs no error."""
    caplog.set_level(logging.WARNING)
    crowd, finished = Crowd(seed), asyncio.Event()
    async with crowd.server() as server, stream_to(server) as stream:
        neighbour = asyncio.create_task(behave(stream, finished))
        try:
            await crowd.come(server)
        finally:
            finished.set()
        assert await neighbour >= 20
    assert_no_errors(caplog)


async def test_a_drain_amid_the_crowd_is_complete_and_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Streams that are opening, waiting, sending or leaving all end, in time, and nobody is let in behind it."""
    caplog.set_level(logging.WARNING)
    crowd = Crowd(100)
    async with crowd.server() as server:
        coming = asyncio.create_task(crowd.come(server))
        await until(lambda: crowd.gone >= CALLS // 3)
        assert await server.drain()
        assert server.runtime.open_sessions == 0
        await coming
    assert_no_errors(caplog)


async def test_whatever_the_admin_service_is_asked_it_answers_with_a_status(caplog: pytest.LogCaptureFixture) -> None:
    """What is right with the figures, what is wrong with the field that is; and the sessions that it shows go on."""
    caplog.set_level(logging.WARNING)
    rng = random.Random(0)  # noqa: S311 - not for secrets
    statuses = set()
    async with Crowd(0).server() as server, stream_to(server) as stream:
        await stream.open()
        for _ in range(200):
            status, details = await said_to(rng, server.port, *admin_call(rng))
            assert status in STATUSES, (status, details)
            statuses.add(status)
        await stream.call.write(frame(1))
        assert not (await stream.result()).HasField("error")
        await stream.call.done_writing()
        assert await stream.read() is None
    assert {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT} <= statuses
    assert_no_errors(caplog)


def test_the_mutations_make_what_they_promise() -> None:
    """Among the scripts are messages that parse and messages that do not; otherwise the crowd would be tame."""
    rng = random.Random(0)  # noqa: S311 - not for secrets
    kinds: set[str | None] = set()
    for _ in range(300):
        for data in script_of(rng):
            try:
                kinds.add(Request.FromString(data).WhichOneof("message"))
            except DecodeError:
                kinds.add("garbage")
    assert kinds == {"session_open", "frame", "end_tracks", None, "garbage"}
