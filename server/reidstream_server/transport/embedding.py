"""EmbeddingService: one task reads a stream, one writes it, and the runtime is between them.

Trap: the call's status is written only here, at one place per call. Whatever ends a call (the client, a fault of the
protocol, the drain, a client that does not read), the session is given back in `finally`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, assert_never

import grpc

from reidstream_proto.v1 import frame_pb2, model_pb2, service_pb2, service_pb2_grpc, session_pb2
from reidstream_server.core.effects import Answer, End, SendDrain
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused, GoingAway, InvalidCall, NotOffered, TooManySessions
from reidstream_server.logs import get_logger
from reidstream_server.runtime.models import ModelTable
from reidstream_server.runtime.runtime import Runtime, Session

from . import answers
from .frames import FrameParser
from .models import details, summary
from .options import WindowLimits, parse_session, parse_unary
from .status import call_status, frame_status

log = get_logger(__name__)

Request: TypeAlias = service_pb2.EmbedStreamRequest
Response: TypeAlias = service_pb2.EmbedStreamResponse
StreamContext: TypeAlias = grpc.aio.ServicerContext[Request, Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds of calls. Seconds."""

    max_sessions: int
    open_timeout_s: float
    window: WindowLimits
    published: model_pb2.Limits


class EmbeddingService(service_pb2_grpc.EmbeddingServiceServicer):
    """The service; see the .proto for what each method promises."""

    def __init__(self, runtime: Runtime, models: ModelTable, parser: FrameParser, limits: CallLimits) -> None:
        self._runtime = runtime
        self._models = models
        self._parser = parser
        self._limits = limits
        self._streams = 0
        self.going_away = False

    async def EmbedStream(  # type: ignore[override]  # noqa: N802 - grpc.aio's reader and writer style; contract's name
        self, request_iterator: AsyncIterator[Request], context: StreamContext
    ) -> None:
        """One camera's stream."""
        del request_iterator  # read through the context, which tells the end of the stream from a broken one
        self._streams += 1
        try:
            session, opened = await self._open(context)
            try:
                await context.write(Response(session_opened=opened))
                await self._serve(session, context)
            finally:
                self._runtime.session_lost(session.key)
        except CallRefused as refused:
            await context.abort(call_status(refused), str(refused))
        finally:
            self._streams -= 1

    async def Embed(  # noqa: N802
        self, request: service_pb2.EmbedRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> service_pb2.EmbedResponse:
        """One frame, one answer."""
        try:
            self._refuse_when_leaving()
            agreement = parse_unary(request.options, client="", models=self._models, window=self._limits.window)
        except CallRefused as refused:
            await _abort(context, call_status(refused), str(refused))
        session = self._runtime.open_session(agreement)
        try:
            self._take_frame(session, request.frame)
            self._runtime.half_closed(session)
            answer = await session.mail.get()
        finally:
            self._runtime.session_lost(session.key)
        if not isinstance(answer, Answer):
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the server is stopping; send the frame elsewhere")
        if answer.fault is not None:
            await _abort(context, frame_status(answer.fault), answer.fault.message)
        return service_pb2.EmbedResponse(result=answers.frame_result(answer, self._models))

    async def ListModels(  # noqa: N802
        self, request: service_pb2.ListModelsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> service_pb2.ListModelsResponse:
        """The models of this server."""
        del request, context
        return service_pb2.ListModelsResponse(models=[summary(model, self._models) for model in self._models.models])

    async def GetModel(  # noqa: N802
        self, request: service_pb2.GetModelRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> service_pb2.GetModelResponse:
        """One model, and every limit."""
        try:
            model = self._models.find(request.name)
        except CallRefused as refused:
            await _abort(context, call_status(refused), str(refused))
        return service_pb2.GetModelResponse(model=details(model, self._models), limits=self._limits.published)

    # One stream.

    async def _open(self, context: StreamContext) -> tuple[Session, session_pb2.SessionOpened]:
        """Read the first message and agree. Raises CallRefused."""
        self._refuse_when_leaving()
        if self._streams > self._limits.max_sessions:
            raise TooManySessions(f"{self._limits.max_sessions} sessions are open, which is the limit")
        try:
            first = await asyncio.wait_for(_next(context), self._limits.open_timeout_s)
        except TimeoutError:
            raise InvalidCall(f"no session_open within {self._limits.open_timeout_s:g} s") from None
        if first is None or not first.HasField("session_open"):
            kind = first.WhichOneof("message") or "empty" if first is not None else "the end of the stream"
            raise InvalidCall(f"the first message is {kind}; it must be session_open")
        agreement = parse_session(first.session_open, client="", models=self._models, window=self._limits.window)
        opened = answers.session_opened(first.session_open, agreement, self._models, self._limits.published)
        return self._runtime.open_session(agreement), opened

    def _refuse_when_leaving(self) -> None:
        if self.going_away:
            raise GoingAway("the server is stopping; send the frames elsewhere")

    async def _serve(self, session: Session, context: StreamContext) -> None:
        """Read and write until the session is over. Raises CallRefused for what the client did wrong."""
        tasks = {
            asyncio.create_task(self._read(session, context), name="read"),
            asyncio.create_task(self._write(session, context), name="write"),
            asyncio.create_task(session.stalled.wait(), name="stalled"),
        }
        try:
            while tasks:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    if task.get_name() == "write":
                        return
                    if task.get_name() == "stalled":
                        # The session is gone already; the status waits in line behind the answer that is not taken.
                        log.warning("session_stalled", camera_id=session.agreement.terms.flow.camera_id)
                        await context.abort(
                            grpc.StatusCode.DEADLINE_EXCEEDED, "the client has not read its answers for too long"
                        )
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, session: Session, context: StreamContext) -> None:
        """Take messages while the session may be read."""
        while True:
            await session.readable.wait()
            message = await _next(context)
            if message is None:
                self._runtime.half_closed(session)
                return
            match message.WhichOneof("message"):
                case "frame":
                    self._take_frame(session, message.frame)
                case "session_open":
                    raise InvalidCall("session_open may be sent only once, first")
                case "end_tracks":
                    raise NotOffered("EndTracks: this server does not aggregate tracks")
                case _:
                    raise InvalidCall("a message is empty: set one of frame, end_tracks")

    def _take_frame(self, session: Session, message: frame_pb2.Frame) -> None:
        parsed = self._parser.parse(message, session.agreement)
        if isinstance(parsed, FrameFault):
            self._runtime.frame_refused(session, message.frame_id, parsed)
        else:
            self._runtime.frame_arrived(session, *parsed)

    async def _write(self, session: Session, context: StreamContext) -> None:
        """Write what the session's mailbox holds until its end."""
        while True:
            item = await session.mail.get()
            match item:
                case Answer():
                    await context.write(Response(frame_result=answers.frame_result(item, self._models)))
                    self._runtime.answer_written(session)
                case SendDrain():
                    await context.write(Response(drain=answers.drain(item)))
                case End():
                    return
                case _:
                    assert_never(item)


async def _next(context: StreamContext) -> Request | None:
    """The next message; None when the client has half-closed, for which grpc has a value of another type."""
    message: object = await context.read()
    return message if isinstance(message, Request) else None


async def _abort(context: grpc.aio.ServicerContext[object, object], code: grpc.StatusCode, message: str) -> NoReturn:
    """End a unary call; `abort` always raises, which its stubs do not say."""
    await context.abort(code, message)
    raise AssertionError("abort returns")
