"""The client for asyncio.

One object per server, for any number of cameras: its calls and sessions share one connection. Trap: `embed` sends one
frame and waits for its answer. For a camera use `stream`, which keeps the server's batches full and defines what
happens under load.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TypeVar, overload

import numpy.typing as npt
from typing_extensions import Self, Unpack, override

from reidstream_proto.v1 import service_pb2

from .admin import ADMIN, ServerSessions, SessionDetail, ask_session, ask_sessions
from .checks import seconds, text
from .choices import RetryPolicy
from .connection.grpc_connection import GrpcConnection
from .connection.protocols import SERVICE, Connection, Ping, ask_health
from .connection.retries import with_retries
from .errors import CLOSED, SessionEnded
from .frames.doubts import BoxDoubts
from .frames.framing import captured_at, check_message_size, prepare
from .frames.images import Image
from .models import ModelInfo, ModelSummary, parse_info, parse_summary
from .options import (
    CallInput,
    CallOptions,
    ClientOptions,
    ClientSettings,
    ResumingStreamOptions,
    StreamOptions,
    StreamSettings,
    TrackingResumingStreamOptions,
    TrackingStreamOptions,
    check_options,
    read_options,
    shows_options,
)
from .process import not_picklable
from .rules import model_name
from .session.async_session import AsyncSession
from .session.block import AsyncBlock
from .session.opener import ServerOpener
from .session.requests import embed_options, resolve_choices, session_open
from .session.resuming import ResumingSession
from .session.spans import EMBED, FrameSpans
from .single_calls import SingleCalls
from .types import FrameEmbeddings, SessionEvent

T = TypeVar("T")


class AsyncReidClient:
    """Embeds frames and boxes on a reidstream server. `target` is "host:port"; `ClientOptions` has the options.

    Opens nothing before the first call. Belongs to the process and the event loop of that call, and raises WrongPlace
    elsewhere: make a client within each `asyncio.run`.
    """

    @shows_options(ClientOptions, ClientSettings)
    def __init__(self, target: str, **options: Unpack[ClientOptions]) -> None:
        """Make a client of the server at `target`, "host:port".

        Raises InvalidRequest for a value out of its range, FileError for a file of `tls` that cannot be used.
        """
        settings = read_options(ClientOptions, ClientSettings, options, "AsyncReidClient")
        self.target = text("target", target)
        self._settings = settings
        self._choices = resolve_choices(settings.model, settings.expected_space_id, settings.models)
        self._options = embed_options(settings, self._choices)
        self._timeout_s = settings.timeout_s
        self._retry = settings.retry or RetryPolicy()
        self._connection = _connect(target, settings)
        self._calls = SingleCalls(
            self._connection, self._options, choices=self._choices, retry=self._retry, model_of=self._get_model
        )
        self._closed = False
        self._spans = FrameSpans(settings.tracing, method=EMBED, target=self.target, camera_id=self._options.camera_id)
        self._doubts = BoxDoubts(upright=settings.apply_exif_orientation)

    @shows_options(CallOptions, CallInput)
    async def embed(
        self, image: Image, boxes: npt.ArrayLike | None = None, **options: Unpack[CallOptions]
    ) -> FrameEmbeddings:
        """The embeddings of (N, 4) boxes x1, y1, x2, y2 in pixels of the image, or of `Crops`.

        `image`: a BGR array (H, W, 3) or a grey one (H, W), uint8; the bytes of a JPEG, PNG or WebP file; `RawFrame`,
        `Nv12` or `Crops`.

        The call is repeated while no ready server answers, since embedding twice does no harm. The frame ages
        meanwhile. For N = 0 nothing is sent, but the model's dimension is asked for once. An error of the frame is
        raised, since it is the call's status. Raises InvalidRequest or FrameTooLarge for what cannot be sent, and else
        what the server's status says: `errors` has the list.
        """
        check_options(CallOptions, options, "embed")
        given = CallInput(image=image, boxes=boxes, **options)
        captured_s = captured_at(given)
        frame_id = 0 if given.frame_id is None else given.frame_id
        frame = prepare(given, frame_id=frame_id, captured_s=captured_s, doubts=self._doubts)
        budget_s = self._timeout_s if given.timeout_s is None else seconds("timeout_s", given.timeout_s)
        if not frame.boxes:
            return await self._calls.nothing(frame, timeout_s=budget_s)
        check_message_size(frame, self._settings.max_message_bytes)
        with self._spans.sending() as sending:
            answer = await self._calls.embed(frame, sending, timeout_s=budget_s)
            sending.answered(answer)
        return answer

    @overload
    def stream(self, **options: Unpack[StreamOptions]) -> AbstractAsyncContextManager[AsyncSession]: ...
    @overload
    def stream(
        self, **options: Unpack[TrackingStreamOptions]
    ) -> AbstractAsyncContextManager[AsyncSession[SessionEvent]]: ...
    @shows_options(TrackingStreamOptions, StreamSettings)
    def stream(
        self, **options: Unpack[TrackingStreamOptions]
    ) -> AbstractAsyncContextManager[AsyncSession[SessionEvent]]:
        """Open a session for one camera, in an `async with` block: send frames, take answers, each exactly once.

        async with client.stream(camera_id="door") as session:
            await session.send(image, boxes)
            await session.finish()  # no more frames: without it the iteration waits for more answers
            async for answer in session:
                ...

        Leaving the block ends the session and gives up frames without an answer. Entering it raises ServerUnavailable
        or CallTimeout if no server opens the session, CallRejected if it refuses, InvalidRequest for a wrong value.
        """
        settings = read_options(TrackingStreamOptions, StreamSettings, options, "stream")
        return AsyncBlock(self._stream(settings))

    @overload
    def resuming_stream(
        self, **options: Unpack[ResumingStreamOptions]
    ) -> AbstractAsyncContextManager[ResumingSession]: ...
    @overload
    def resuming_stream(
        self, **options: Unpack[TrackingResumingStreamOptions]
    ) -> AbstractAsyncContextManager[ResumingSession[SessionEvent]]: ...
    @shows_options(TrackingResumingStreamOptions, StreamSettings)
    def resuming_stream(
        self, **options: Unpack[TrackingResumingStreamOptions]
    ) -> AbstractAsyncContextManager[ResumingSession[SessionEvent]]:
        """Open a session that outlives its stream, in an `async with` block: if that is cut or drained, another one
        goes on.

        Frames without an answer are kept and sent again, so each is still answered exactly once. Send, finish and
        iterate as with `stream`. Entering the block raises what `stream` raises. The session ends with SpaceMismatch
        if the next server answers in another space, or with the last error if no stream can be opened.
        """
        settings = read_options(TrackingResumingStreamOptions, StreamSettings, options, "resuming_stream")
        return AsyncBlock(self._resuming_stream(settings))

    async def models(self) -> tuple[ModelSummary, ...]:
        """The server's models, one line each. Raises ServerUnavailable or CallTimeout if no server answers."""
        request = service_pb2.ListModelsRequest().SerializeToString()
        answer = await self._ask("ListModels", request, service_pb2.ListModelsResponse.FromString, self._timeout_s)
        return tuple(parse_summary(model) for model in answer.models)

    async def info(self, name: str = "") -> ModelInfo:
        """A model's whole spec, and the server's limits. "" is the default model. Raises ModelNotFound."""
        return parse_info(await self._get_model(model_name("name", name), self._timeout_s))

    async def ping(self) -> Ping:
        """The server's health, and how long asking took. It is asked twice: the first call connects, the second is
        timed.

        Raises ServerUnavailable or CallTimeout at once; nothing is repeated.
        """
        await ask_health(self._connection, timeout_s=self._timeout_s)
        start = time.monotonic()
        health = await ask_health(self._connection, timeout_s=self._timeout_s)
        return Ping(health=health, round_trip_s=time.monotonic() - start)

    async def server_sessions(self) -> ServerSessions:
        """The server's state, and each open session with its figures. Raises CallRejected if that is not allowed."""
        return await ask_sessions(self._ask_admin)

    async def server_session(self, number: int) -> SessionDetail:
        """One of them by its `number`, with its open frames. Raises CallRejected if it is over."""
        return await ask_session(self._ask_admin, number)

    async def close(self) -> None:
        """Close the connection; open calls and sessions end with SessionEnded.

        Closing twice is harmless. A closed client cannot be used again.
        """
        await self._connection.close()
        self._closed = True

    async def __aenter__(self) -> Self:
        if self._closed:
            raise SessionEnded(CLOSED)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    __reduce__ = not_picklable

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    @asynccontextmanager
    async def _stream(self, settings: StreamSettings) -> AsyncIterator[AsyncSession[SessionEvent]]:
        session = await self._opener(settings).open_one()
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def _resuming_stream(self, settings: StreamSettings) -> AsyncIterator[ResumingSession[SessionEvent]]:
        opener = self._opener(settings)
        session = await ResumingSession[SessionEvent].begin(
            opener,
            give_up_after_s=settings.give_up_after_s,
            budget_grace_s=settings.budget_grace_s,
            spans=opener.spans(),
        )
        try:
            yield session
        finally:
            await session.close()

    def _opener(self, settings: StreamSettings) -> ServerOpener:
        return ServerOpener(
            connection=self._connection,
            request=session_open(self._options, settings),
            choices=self._choices,
            retry=self._retry,
            timeout_s=self._timeout_s,
            answer_timeout_s=settings.answer_timeout_s,
            budget_grace_s=settings.budget_grace_s,
            max_message_bytes=self._settings.max_message_bytes,
            shared_memory=settings.shared_memory,
            tracing=self._settings.tracing,
        )

    async def _get_model(self, name: str, timeout_s: float) -> service_pb2.GetModelResponse:
        request = service_pb2.GetModelRequest(name=name).SerializeToString()
        return await self._ask("GetModel", request, service_pb2.GetModelResponse.FromString, timeout_s)

    async def _ask_admin(self, method: str, request: bytes, parse: Callable[[bytes], T]) -> T:
        return await self._ask(method, request, parse, self._timeout_s, service=ADMIN)

    async def _ask(
        self, method: str, request: bytes, parse: Callable[[bytes], T], timeout_s: float, *, service: str = SERVICE
    ) -> T:
        async def attempt(left_s: float) -> T:
            return await self._connection.unary(f"/{service}/{method}", request, parse, timeout_s=left_s)

        return await with_retries(attempt, self._retry, timeout_s=timeout_s)


def _connect(target: str, settings: ClientSettings) -> Connection:
    if settings.connect is not None:
        return settings.connect(target)
    return GrpcConnection(
        target,
        max_message_bytes=settings.max_message_bytes,
        keepalive_s=settings.keepalive_s,
        tls=settings.tls,
        token=settings.token,
    )
