"""A server in this process on a real socket, and a client that says exactly what a test wants said.

Why not the product's client here: it never exceeds a window, repeats an id or sends garbage; these tests do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache

import cv2
import grpc
import numpy as np
import numpy.typing as npt

from reidstream_engines import default_model
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.fake import FakeEngine, FakeStager
from reidstream_engines.protocol import Engine
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, service_pb2_grpc, session_pb2
from reidstream_server.app import RunningServer, operators_port, running_server
from reidstream_server.config import ServerConfig
from reidstream_server.loading import Engines
from tests.support.patience import HANG_S

Pixels = npt.NDArray[np.uint8]
MAX_MESSAGE = 64 * 2**20
TIMEOUTS = ("batch_timeout_s", "stall_timeout_s", "open_timeout_s", "receive_timeout_s", "drain_timeout_s")
"""A server's settings that end something because time has passed."""


def settings(**changes: object) -> ServerConfig:
    """The default configuration on free ports, with changes: `max_queue_boxes=100` finds its group by itself.

    Metrics are off unless asked for: they are a thread and a port more. Time-outs are for hangs.
    """
    config = ServerConfig()
    config = replace(config, listen=replace(config.listen, port=0, metrics_port=0, metrics_enabled=False))
    for name, value in (dict.fromkeys(TIMEOUTS, HANG_S) | changes).items():
        for group in ("listen", "security", "engine", "limits", "scheduling", "lifecycle", "tracing"):
            if hasattr(getattr(config, group), name):
                config = replace(config, **{group: replace(getattr(config, group), **{name: value})})
                break
        else:
            raise KeyError(name)
    return config


@asynccontextmanager
async def serving(*engines: Engine, **changes: object) -> AsyncIterator[RunningServer]:
    """A running server; with the deterministic fake unless engines are given."""
    chosen = engines or (FakeEngine(),)
    stager = FakeStager() if isinstance(chosen[0], FakeEngine) else CpuStager()
    config = settings(**changes)
    with operators_port(config) as operators:
        async with running_server(config, Engines(engines=chosen, stager=stager), operators) as server:
            yield server


@cache
def real_engine() -> Engine:
    """The embedded default model on real pixels, loaded once."""
    return load_onnx(default_model.PATH, name=default_model.NAME, profile=None, options=OnnxOptions(slots=2))


@asynccontextmanager
async def stub_of(port: int) -> AsyncIterator[service_pb2_grpc.EmbeddingServiceAsyncStub]:
    """A raw stub."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", MAX_MESSAGE)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield service_pb2_grpc.EmbeddingServiceStub(channel)


def opening(**fields: object) -> service_pb2.EmbedStreamRequest:
    """A SessionOpen; fields of EmbedOptions and of SessionOpen by name."""
    options = session_pb2.EmbedOptions(camera_id="test-camera")
    message = session_pb2.SessionOpen(session_id=os.urandom(16))
    for name, value in fields.items():
        target = options if name in options.DESCRIPTOR.fields_by_name else message
        if isinstance(value, (str, bytes, int, float)):
            setattr(target, name, value)
        elif isinstance(value, list):
            getattr(target, name).extend(value)
        else:
            getattr(target, name).CopyFrom(value)
    message.options.CopyFrom(options)
    return service_pb2.EmbedStreamRequest(session_open=message)


def picture(width: int = 320, height: int = 240, seed: int = 0) -> Pixels:
    """A smooth random picture, BGR uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def encode(pixels: Pixels, extension: str = ".jpg", *parameters: int) -> bytes:
    """The bytes of an image file."""
    ok, data = cv2.imencode(extension, pixels, list(parameters))
    assert ok
    return data.tobytes()


def box(x1: float, y1: float, x2: float, y2: float) -> image_pb2.Box:
    """A box by its corners."""
    return image_pb2.Box(rect=image_pb2.Rect(x1=x1, y1=y1, x2=x2, y2=y2))


def frame(
    frame_id: int, image: bytes | None = None, boxes: Sequence[image_pb2.Box] | None = None
) -> service_pb2.EmbedStreamRequest:
    """A frame message; two boxes on a small JPEG unless said otherwise."""
    chosen = [box(10, 10, 60, 120), box(100, 20, 160, 200)] if boxes is None else boxes
    data = JPEG if image is None else image
    return service_pb2.EmbedStreamRequest(
        frame=frame_pb2.Frame(frame_id=frame_id, encoded=image_pb2.EncodedImage(data=data), boxes=chosen)
    )


def raw_image(pixels: Pixels) -> image_pb2.RawImage:
    """BGR pixels as they are."""
    height, width = pixels.shape[:2]
    return image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=width, height=height, data=pixels.tobytes())


@dataclass(slots=True)
class RawStream:
    """One EmbedStream call. `write` and `read` are the call's own."""

    call: grpc.aio.StreamStreamCall[service_pb2.EmbedStreamRequest, service_pb2.EmbedStreamResponse]

    async def open(self, **fields: object) -> session_pb2.SessionOpened:
        """Send the opening and read what was agreed."""
        await self.call.write(opening(**fields))
        answer = await self.read()
        assert answer is not None
        assert answer.HasField("session_opened")
        return answer.session_opened

    async def read(self) -> service_pb2.EmbedStreamResponse | None:
        """The next answer; None at the end of the stream."""
        answer: object = await self.call.read()
        return answer if isinstance(answer, service_pb2.EmbedStreamResponse) else None

    async def result(self) -> frame_pb2.FrameResult:
        """The next answer, which must be a frame's."""
        answer = await self.read()
        assert answer is not None
        assert answer.HasField("frame_result"), answer
        return answer.frame_result

    async def results(self) -> list[frame_pb2.FrameResult]:
        """Every frame's answer until the end of the stream."""
        found = []
        while (answer := await self.read()) is not None:
            if answer.HasField("frame_result"):
                found.append(answer.frame_result)
        return found

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """The status that ends the call, and its message; frames' answers before it are read over."""
        try:
            while await self.read() is not None:
                pass
        except grpc.aio.AioRpcError:
            pass
        return await self.call.code(), await self.call.details()


@asynccontextmanager
async def stream_to(server: RunningServer, *, token: str = "") -> AsyncIterator[RawStream]:
    """A stream that is not opened yet."""
    async with stub_of(server.port) as stub:
        call = stub.EmbedStream(metadata=[("authorization", f"Bearer {token}")] if token else None)
        try:
            yield RawStream(call)
        finally:
            call.cancel()


async def until(condition: Callable[..., object]) -> None:
    """Let the event loop run until `condition()` holds; fails after a time that only a hang takes."""
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - state of other threads, which set no event of ours
            await asyncio.sleep(0.002)


async def write_while_it_lasts(stream: RawStream, messages: Sequence[service_pb2.EmbedStreamRequest]) -> None:
    """Send until the server ends the stream, which it may do before all is written."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for message in messages:
            await stream.call.write(message)


async def send_all(stream: RawStream, messages: Sequence[service_pb2.EmbedStreamRequest]) -> None:
    """Send, then half-close."""
    for message in messages:
        await stream.call.write(message)
    await stream.call.done_writing()


JPEG = encode(picture())
