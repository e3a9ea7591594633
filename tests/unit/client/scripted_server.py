"""A real gRPC server on a real socket that does what a test tells it to, right or wrong.

Vectors are made of the box that they answer (`vector`), so a row under the wrong box is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt

from reidstream_proto.v1 import frame_pb2, image_pb2, model_pb2, service_pb2, service_pb2_grpc, session_pb2

DIM = 4
SPACE = "1:" + "a" * 64
OTHER_SPACE = "1:" + "b" * 64


def f32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """An array of the vectors' kind."""
    return np.asarray(values, np.float32)


def vector(frame_id: int, index: int, rect: image_pb2.Rect | None = None) -> npt.NDArray[np.float32]:
    """What the scripted model says of a box."""
    return np.array([frame_id, index, rect.x1 if rect else 0, rect.y2 if rect else 0], np.float32)


def model(name: str = "scripted", *, dim: int = DIM, space: str = SPACE) -> session_pb2.AgreedModel:
    return session_pb2.AgreedModel(name=name, version="0123456789ab", dim=dim, space_id=space)


def block(name: str, rows: npt.NDArray[np.float32], *, space: str = SPACE) -> frame_pb2.EmbeddingBlock:
    return frame_pb2.EmbeddingBlock(
        model=name,
        version="0123456789ab",
        space_id=space,
        dim=rows.shape[1],
        dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT32,
        count=len(rows),
        data=rows.tobytes(),
    )


def result(frame: frame_pb2.Frame) -> frame_pb2.FrameResult:
    """The right answer to a frame, with its rows stored back to front: only `row` tells where they are."""
    crops = frame.crops.crops
    rects = [crop.box.rect for crop in crops] if crops else [box.rect for box in frame.boxes]
    rows = np.array([vector(frame.frame_id, i, rect) for i, rect in enumerate(rects)], np.float32)
    return frame_pb2.FrameResult(
        frame_id=frame.frame_id,
        boxes=[
            frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_EMBEDDED, block=0, row=len(rects) - 1 - i, quality=0.5)
            for i in range(len(rects))
        ],
        blocks=[block("scripted", rows[::-1].copy())] if rects else [],
        timing=frame_pb2.Timing(
            decoded_ns=1_000_000,
            first_batch_started_ns=3_000_000,
            last_batch_ended_ns=7_000_000,
            sent_ns=8_000_000,
            batch_sizes=[len(rects)],
        ),
    )


class ServerStream:
    """One EmbedStream call as the script sees it. Counts what is unanswered, as the window does."""

    def __init__(
        self,
        context: grpc.aio.ServicerContext[service_pb2.EmbedStreamRequest, service_pb2.EmbedStreamResponse],
    ) -> None:
        self.context = context
        self.open = session_pb2.SessionOpen()
        self.unanswered: dict[int, int] = {}
        self.arrived = asyncio.Event()
        self.max_frames = self.max_bytes = 0

    async def opened(
        self,
        *models: session_pb2.AgreedModel,
        frames: int = 8,
        size: int = 1 << 20,
        session_id: bytes | None = None,
        limits: model_pb2.Limits | None = None,
        takes_close: bool = False,
        tracks: session_pb2.TrackOptions | None = None,
        budget_ms: int | None = None,
    ) -> None:
        self.open = (await self.context.read()).session_open
        asked = self.open.window
        answer = session_pb2.SessionOpened(
            session_id=self.open.session_id if session_id is None else session_id,
            epoch=self.open.epoch,
            models=models or [model()],
            window=session_pb2.Window(frames=min(asked.frames or frames, frames), bytes=min(asked.bytes or size, size)),
            limits=limits,
            priority=session_pb2.PRIORITY_NORMAL,
            ordering=self.open.ordering,
            overload_policy=self.open.overload_policy,
            dtype=self.open.options.dtype,
            takes_close=takes_close,
            track_options=tracks,
            latency_budget_ms=budget_ms,
        )
        await self.write(service_pb2.EmbedStreamResponse(session_opened=answer))

    async def frame(self) -> frame_pb2.Frame | None:
        """The next frame; None once the client has half-closed."""
        request: object = await self.context.read()
        if not isinstance(request, service_pb2.EmbedStreamRequest):
            return None
        frame = request.frame
        self.unanswered[frame.frame_id] = frame.ByteSize()
        self.arrived.set()
        self.max_frames = max(self.max_frames, len(self.unanswered))
        self.max_bytes = max(self.max_bytes, sum(self.unanswered.values()))
        return frame

    async def take(self, count: int) -> list[frame_pb2.Frame]:
        """Exactly so many frames."""
        frames = [await self.frame() for _ in range(count)]
        return [frame for frame in frames if frame is not None]

    async def answer(self, answer: frame_pb2.FrameResult | frame_pb2.Frame) -> None:
        message = result(answer) if isinstance(answer, frame_pb2.Frame) else answer
        self.unanswered.pop(message.frame_id, None)
        await self.write(service_pb2.EmbedStreamResponse(frame_result=message))

    async def answer_all(self) -> None:
        """Answer frames as they come, until the client half-closes."""
        while (frame := await self.frame()) is not None:
            await self.answer(frame)

    async def drain(self, last_accepted: int | None) -> None:
        drain = session_pb2.Drain(
            last_accepted_frame_id=last_accepted, deadline_ms=1000, reason=session_pb2.DRAIN_REASON_SHUTDOWN
        )
        await self.write(service_pb2.EmbedStreamResponse(drain=drain))

    async def write(self, message: service_pb2.EmbedStreamResponse) -> None:
        await self.context.write(message)


async def _serve_rightly(stream: ServerStream) -> None:
    await stream.opened()
    await stream.answer_all()


async def _embed_rightly(
    request: service_pb2.EmbedRequest,
    context: grpc.aio.ServicerContext[service_pb2.EmbedRequest, service_pb2.EmbedResponse],
) -> service_pb2.EmbedResponse:
    del context
    return service_pb2.EmbedResponse(result=result(request.frame))


@dataclass
class ScriptedServer(service_pb2_grpc.EmbeddingServiceServicer):
    """What it does is set by the test; what it saw is kept for the test."""

    on_stream: Callable[[ServerStream], Awaitable[None]] = _serve_rightly
    on_embed: Callable[..., Awaitable[service_pb2.EmbedResponse]] = _embed_rightly
    health: bytes | None = b"\x08\x01"
    models: dict[str, session_pb2.AgreedModel] = field(default_factory=lambda: {"": model(), "scripted": model()})
    target: str = ""
    streams: list[ServerStream] = field(default_factory=list)
    embedded: list[service_pb2.EmbedRequest] = field(default_factory=list)
    model_requests: list[str] = field(default_factory=list)

    async def EmbedStream(self, request_iterator, context):  # type: ignore[no-untyped-def,override]  # noqa: ANN001, ANN201, ARG002, N802
        stream = ServerStream(context)
        self.streams.append(stream)
        await self.on_stream(stream)

    async def Embed(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, N802
        self.embedded.append(request)
        return await self.on_embed(request, context)

    async def ListModels(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002, N802
        return service_pb2.ListModelsResponse(
            models=[_summary(name, agreed) for name, agreed in self.models.items() if name]
        )

    async def GetModel(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, N802
        self.model_requests.append(request.name)
        if request.name not in self.models:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name!r}")
        agreed = self.models[request.name]
        return service_pb2.GetModelResponse(
            model=model_pb2.ModelDetails(
                model=_summary(agreed.name, agreed),
                profile="torchreid",
                input=model_pb2.InputSpec(
                    name="input",
                    width=128,
                    height=256,
                    color_order=model_pb2.COLOR_ORDER_RGB,
                    resize=model_pb2.RESIZE_OPENCV_BILINEAR,
                    fit=model_pb2.FIT_STRETCH,
                    crop_rule=model_pb2.CropRule.ValueType(77),
                    scale=1 / 255,
                    mean=[0.5, 0.5, 0.5],
                    std=[0.25, 0.25, 0.25],
                    jpeg_scale=2,
                ),
                output=model_pb2.OutputSpec(name="output", dim=agreed.dim, l2_normalize=True),
                engine=model_pb2.EngineInfo(engine="fake", device="cpu", precision="fp32", max_batch=16),
                artifact_sha256="c" * 64,
            ),
            limits=model_pb2.Limits(max_message_bytes=1 << 24, max_window_frames=8),
        )

    async def check(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        return self.health

    @asynccontextmanager
    async def running(self, options: Sequence[tuple[str, int]] = ()) -> AsyncIterator[ScriptedServer]:
        server = grpc.aio.server(options=options)
        service_pb2_grpc.add_EmbeddingServiceServicer_to_server(self, server)
        if self.health is not None:
            check: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self.check)
            health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
            server.add_generic_rpc_handlers((health,))
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)


def _summary(name: str, agreed: session_pb2.AgreedModel) -> model_pb2.Model:
    return model_pb2.Model(
        name=name,
        version=agreed.version,
        space_id=agreed.space_id,
        dim=agreed.dim,
        is_default=name == "scripted",
        ready=True,
    )
