"""The client for asyncio.

One object per server, for any number of cameras: its calls and sessions share one connection. Trap: `embed` is one
frame at a time and waits for its answer; a camera is better served by `stream`, which keeps the server's batches full
and says what happens under load.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import numpy.typing as npt

from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from .connection.credentials import TlsOptions
from .connection.grpc_connection import SERVICE, Connection, Health, with_retries
from .errors import InvalidRequest, ProtocolFault
from .frames.framing import PreparedFrame, captured_at, check_message_size, prepare
from .frames.images import Image
from .frames.results import answering_models, parse_result, without_vectors
from .models import AgreedModel, ModelInfo, ModelSummary, parse_info, parse_summary
from .options import (
    BoxFilter,
    EmbeddingDtype,
    ModelChoice,
    Ordering,
    OverloadPolicy,
    Priority,
    RetryPolicy,
    check_above_zero,
    check_camera_id,
    check_unsigned,
    embed_options,
    resolve_choices,
)
from .session.async_session import AsyncSession
from .session.opening import check_spaces, new_session_id, open_sharing
from .session.resuming import Reopen, ResumingSession
from .types import FrameEmbeddings, Timing

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

DEFAULT_MAX_MESSAGE_BYTES = 64 << 20
_MOST_MESSAGE_BYTES = 2**31 - 1  # as gRPC counts
_MAX_CAMERA_CHARS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A server that answered. `round_trip_s`: of the health check, connecting not included."""

    health: Health
    round_trip_s: float


class AsyncReidClient:
    """Embeds frames and boxes on a reidstream server.

    - `target`: "host:port".
    - `camera_id` names the camera; cameras share the engines fairly. Default: this machine's name.
    - `model`: a name from `models()`; None is the server's default.
    - `expected_space_id`: refuse any other embedding space (SpaceMismatch).
    - `models`: instead of these two, several models, routed by class.
    - `priority`: who goes first when the engines are busy.
    - `latency_budget_s`: a frame older than this before its inference is answered OVER_BUDGET; None: no budget.
    - `dtype`: how vectors travel; FLOAT16 halves the answers.
    - `box_filter`: boxes to leave alone.
    - `timeout_s`: for a whole call, repetitions included, and for opening a session.
    - `max_message_bytes`: largest message, both ways; the server has a limit of its own.
    - `retry`: how calls that met no ready server are repeated.
    - `tls`: how the server is known, and this client shown; None is no TLS.
    - `token`: sent with every call; without TLS to this machine only.

    Opens nothing before the first call. Belongs to the event loop of that call. Raises InvalidRequest for a value out
    of its range, FileError for a file of `tls` that cannot be used.
    """

    def __init__(
        self,
        target: str,
        *,
        camera_id: str | None = None,
        model: str | None = None,
        expected_space_id: str | None = None,
        models: Sequence[ModelChoice] = (),
        priority: Priority = Priority.NORMAL,
        latency_budget_s: float | None = None,
        dtype: EmbeddingDtype = EmbeddingDtype.FLOAT32,
        box_filter: BoxFilter | None = None,
        timeout_s: float = 10.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        retry: RetryPolicy | None = None,
        tls: TlsOptions | None = None,
        token: str | None = None,
    ) -> None:
        check_above_zero("timeout_s", timeout_s)
        if not 1 <= max_message_bytes <= _MOST_MESSAGE_BYTES:
            raise InvalidRequest(f"max_message_bytes must be 1 to {_MOST_MESSAGE_BYTES}, not {max_message_bytes}")
        self.target = target
        self._choices = resolve_choices(model, expected_space_id, models)
        self._options = embed_options(
            camera_id=socket.gethostname()[:_MAX_CAMERA_CHARS] or "camera" if camera_id is None else camera_id,
            models=self._choices,
            priority=priority,
            latency_budget_s=latency_budget_s,
            dtype=dtype,
            box_filter=box_filter,
        )
        self._embed_prefix = service_pb2.EmbedRequest(options=self._options).SerializeToString()
        self._timeout_s = timeout_s
        self._max_message_bytes = max_message_bytes
        self._retry = retry or RetryPolicy()
        self._connection = Connection(target, max_message_bytes=max_message_bytes, tls=tls, token=token)
        self._known: dict[str, AgreedModel] = {}

    async def embed(
        self,
        image: Image,
        boxes: npt.ArrayLike | None = None,
        *,
        frame_id: int = 0,
        class_ids: npt.ArrayLike | None = None,
        scores: npt.ArrayLike | None = None,
        source_size: tuple[int, int] | None = None,
        age_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> FrameEmbeddings:
        """The embeddings of (N, 4) boxes x1, y1, x2, y2 in pixels of the image, or of `Crops`.

        N = 0 asks the server nothing but, once, the model's dimension. `age_s`: how long ago it was taken; it ages from
        then on, repetitions included. `timeout_s` overrides the client's. The frame's own errors are raised here, since
        they are the call's status. Repeated while no ready server answers: embedding twice does no harm.
        """
        frame = prepare(
            image,
            boxes,
            frame_id=frame_id,
            class_ids=class_ids,
            scores=scores,
            source_size=source_size,
            captured_s=captured_at(None, age_s),
        )
        budget_s = self._timeout_s if timeout_s is None else timeout_s
        check_above_zero("timeout_s", budget_s)
        if not frame.boxes:
            agreed = await self._agreed({}, timeout_s=budget_s)
            return without_vectors(frame_id, 0, agreed, error=None, timing=Timing(), local=True)
        check_message_size(frame, self._max_message_bytes)
        result, round_trip_s = await self._call_embed(frame, timeout_s=budget_s)
        agreed = await self._agreed(answering_models(result), timeout_s=budget_s)
        return parse_result(result, boxes=frame.boxes, models=agreed, round_trip_s=round_trip_s)

    @asynccontextmanager
    async def stream(
        self,
        *,
        camera_id: str | None = None,
        ordering: Ordering = Ordering.IN_ORDER,
        overload_policy: OverloadPolicy = OverloadPolicy.WAIT,
        window_frames: int = 0,
        window_bytes: int = 0,
        answer_timeout_s: float = 60.0,
        shared_memory: bool = False,
    ) -> AsyncIterator[AsyncSession]:
        """Open a session; leaving the block ends it, so `finish` and iterate first to get every answer.

        `camera_id`: instead of the client's. `window_frames`, `window_bytes`: how much may be unanswered; 0 asks for
        as much as the server gives. `answer_timeout_s`: a session with a frame that waits longer ends with
        CallTimeout. `shared_memory`: leave raw frames in memory that a server on this machine reads, instead of sending
        them; where that cannot be had they are sent, and `opened.shared_memory_refusal` says why.
        """
        open_epoch = self._opener(
            camera_id=camera_id,
            ordering=ordering,
            overload_policy=overload_policy,
            window_frames=window_frames,
            window_bytes=window_bytes,
            answer_timeout_s=answer_timeout_s,
            give_up_after_s=self._timeout_s,
            shared_memory=shared_memory,
        )
        session = await open_epoch(0)
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def resuming_stream(
        self,
        *,
        camera_id: str | None = None,
        ordering: Ordering = Ordering.IN_ORDER,
        overload_policy: OverloadPolicy = OverloadPolicy.WAIT,
        window_frames: int = 0,
        window_bytes: int = 0,
        answer_timeout_s: float = 60.0,
        give_up_after_s: float = 60.0,
        shared_memory: bool = False,
    ) -> AsyncIterator[ResumingSession]:
        """As `stream`, but the session outlives its stream: when that is cut or drained, another one goes on.

        `give_up_after_s`: how long a new stream is sought before the session ends with why the last one could not be
        had.
        """
        open_epoch = self._opener(
            camera_id=camera_id,
            ordering=ordering,
            overload_policy=overload_policy,
            window_frames=window_frames,
            window_bytes=window_bytes,
            answer_timeout_s=answer_timeout_s,
            give_up_after_s=give_up_after_s,
            shared_memory=shared_memory,
        )
        session = ResumingSession(await open_epoch(0), open_epoch)
        try:
            yield session
        finally:
            await session.close()

    async def models(self) -> tuple[ModelSummary, ...]:
        """The models that the server holds."""
        request = service_pb2.ListModelsRequest().SerializeToString()
        answer = await self._ask("ListModels", request, service_pb2.ListModelsResponse.FromString, self._timeout_s)
        return tuple(parse_summary(model) for model in answer.models)

    async def info(self, name: str = "") -> ModelInfo:
        """A model's whole spec and the server's limits; "" is the default model. Raises ModelNotFound."""
        return parse_info(await self._get_model(name, self._timeout_s))

    async def ping(self) -> Ping:
        """Ask the server for its health, twice: the first time connects, the second is timed. Raises, not repeated."""
        await self._connection.health(timeout_s=self._timeout_s)
        start = time.monotonic()
        health = await self._connection.health(timeout_s=self._timeout_s)
        return Ping(health=health, round_trip_s=time.monotonic() - start)

    def _opener(
        self,
        *,
        camera_id: str | None,
        ordering: Ordering,
        overload_policy: OverloadPolicy,
        window_frames: int,
        window_bytes: int,
        answer_timeout_s: float,
        give_up_after_s: float,
        shared_memory: bool,
    ) -> Reopen:
        """What opens the streams of one session, by their epochs."""
        check_above_zero("answer_timeout_s", answer_timeout_s)
        check_above_zero("give_up_after_s", give_up_after_s)
        check_unsigned("window_frames", window_frames, 32)
        check_unsigned("window_bytes", window_bytes, 64)
        options = self._options
        if camera_id is not None:
            check_camera_id(camera_id)
            options = session_pb2.EmbedOptions()
            options.CopyFrom(self._options)
            options.camera_id = camera_id
        request = session_pb2.SessionOpen(
            options=options,
            session_id=new_session_id(),
            ordering=session_pb2.Ordering.ValueType(ordering.value),
            overload_policy=session_pb2.OverloadPolicy.ValueType(overload_policy.value),
            window=session_pb2.Window(frames=window_frames, bytes=window_bytes),
        )

        async def open_epoch(epoch: int) -> AsyncSession:
            request.epoch = epoch
            # The first stream fails as soon as a single call would; a later one is worth waiting for.
            retry = replace(self._retry, attempts=sys.maxsize) if epoch else self._retry
            timeout_s = give_up_after_s if epoch else self._timeout_s
            call, opened, shared = await open_sharing(
                self._connection,
                request,
                choices=self._choices,
                retry=retry,
                timeout_s=timeout_s,
                shared_memory=shared_memory,
            )
            return AsyncSession(
                call,
                opened,
                max_message_bytes=self._max_message_bytes,
                answer_timeout_s=answer_timeout_s,
                shared=shared,
            )

        return open_epoch

    async def close(self) -> None:
        """Close the connection; open calls and sessions end. Closing twice is harmless."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _get_model(self, name: str, timeout_s: float) -> service_pb2.GetModelResponse:
        request = service_pb2.GetModelRequest(name=name).SerializeToString()
        return await self._ask("GetModel", request, service_pb2.GetModelResponse.FromString, timeout_s)

    async def _ask(self, method: str, request: bytes, parse: Callable[[bytes], T], timeout_s: float) -> T:
        async def attempt(left_s: float) -> T:
            return await self._connection.unary(f"/{SERVICE}/{method}", request, parse, timeout_s=left_s)

        return await with_retries(attempt, self._retry, timeout_s=timeout_s)

    async def _call_embed(self, frame: PreparedFrame, *, timeout_s: float) -> tuple[frame_pb2.FrameResult, float]:
        method, parse = f"/{SERVICE}/Embed", service_pb2.EmbedResponse.FromString

        async def attempt(left_s: float) -> tuple[frame_pb2.FrameResult, float]:
            start = time.monotonic()
            message = frame.embed_message(self._embed_prefix, start)
            answer = await self._connection.unary(method, message, parse, timeout_s=left_s)
            return answer.result, time.monotonic() - start

        result, round_trip_s = await with_retries(attempt, self._retry, timeout_s=timeout_s)
        if result.HasField("error") or result.frame_id != frame.frame_id:
            raise ProtocolFault(f"{self.target}: the answer is not to frame {frame.frame_id}, or has an in-band error")
        return result, round_trip_s

    async def _agreed(self, answering: dict[str, AgreedModel], *, timeout_s: float) -> tuple[AgreedModel, ...]:
        """The models of this client's choices, in their order, by the answer itself and else by GetModel (once)."""
        agreed = []
        for choice in self._choices:
            known = self._known.get(choice.name)
            if len(self._choices) == 1 and answering:
                known = next(iter(answering.values()))
            elif known is not None:
                known = answering.get(known.name, known)
            else:
                model = (await self._get_model(choice.name, timeout_s)).model.model
                known = AgreedModel(name=model.name, version=model.version, dim=model.dim, space_id=model.space_id)
                known = answering.get(known.name, known)
            self._known[choice.name] = known
            agreed.append(replace(known, class_ids=choice.class_ids))
        check_spaces(self._choices, agreed)
        return tuple(agreed)
