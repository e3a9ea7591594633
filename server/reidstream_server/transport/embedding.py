"""EmbeddingService: one task reads a stream, one writes it, and the runtime is between them.

Trap: whatever ends a call (the client, a fault of the protocol, the drain, a client that does not read), the session is
given back in `finally`, before the status is sent: a client that does not read never takes that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TypeAlias, assert_never

import grpc

from reidstream_proto.v1 import frame_pb2, service_pb2, service_pb2_grpc, session_pb2
from reidstream_server.core.effects import Answer, End, EndCause, SendDrain
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import DrainReason, FrameRequest
from reidstream_server.errors import GoingAway, InvalidCall, NotOffered, TooManySessions
from reidstream_server.logs import get_logger
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.job import FrameJob
from reidstream_server.runtime.models import ModelTable
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import JobAnswer, Session

from . import answers
from .calls import CallObserver, abort, refuse, understood
from .epochs import Epochs, Holding
from .frames import FrameParser
from .models import details, summary
from .options import CallLimits, parse_session, parse_unary
from .reading import Request, Response, StreamContext, next_message, opening_message
from .record import SessionRecord
from .security import Access
from .shared import shared_memory
from .shared_segment import Segment
from .status import end_status, frame_status

log = get_logger(__name__)

UnaryContext: TypeAlias = grpc.aio.ServicerContext[object, object]


class EmbeddingService(service_pb2_grpc.EmbeddingServiceServicer):
    """The service; see the .proto for what each method promises."""

    def __init__(
        self,
        runtime: Runtime,
        models: ModelTable,
        parser: FrameParser,
        *,
        limits: CallLimits,
        access: Access,
        observer: CallObserver,
    ) -> None:
        self._observer = observer
        self._access = access
        self._runtime = runtime
        self._models = models
        self._parser = parser
        self._limits = limits
        self._streams = 0
        self._epochs = Epochs(limits.max_sessions)
        self.going_away = False

    async def EmbedStream(  # type: ignore[override]  # noqa: N802 - grpc.aio's reader and writer style; contract's name
        self, request_iterator: AsyncIterator[Request], context: StreamContext
    ) -> None:
        """One camera's stream."""
        del request_iterator  # read through the context, when there is room for a message
        try:
            cause = await self._stream(context)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)
        if (status := end_status(cause)) is not None:
            await abort(context, *status, reason=cause.value)

    async def Embed(  # noqa: N802
        self, request: service_pb2.EmbedRequest | None, context: UnaryContext
    ) -> service_pb2.EmbedResponse:
        """One frame, one answer."""
        try:
            client = self._access.client_of(context)
            self._refuse_when_leaving()
            asked = understood(request)
            agreement = parse_unary(asked.options, client=client, models=self._models, window=self._limits.window)
            answer = await self._embed(agreement, asked.frame)
            if answer.fault is not None:
                await abort(
                    context,
                    frame_status(answer.fault),
                    answer.fault.message,
                    reason=answer.fault.reason.value,
                    retry_after_ms=answer.fault.retry_after_ms,
                )
            return service_pb2.EmbedResponse(result=answers.frame_result(answer, self._models))
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def ListModels(  # noqa: N802
        self, request: service_pb2.ListModelsRequest | None, context: UnaryContext
    ) -> service_pb2.ListModelsResponse:
        """The models of this server."""
        try:
            self._access.client_of(context)
            understood(request)
            models = [summary(model, self._models) for model in self._models.models]
            return service_pb2.ListModelsResponse(models=models)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def GetModel(  # noqa: N802
        self, request: service_pb2.GetModelRequest | None, context: UnaryContext
    ) -> service_pb2.GetModelResponse:
        """One model, and every limit."""
        try:
            self._access.client_of(context)
            model = self._models.find(understood(request).name)
            return service_pb2.GetModelResponse(model=details(model, self._models), limits=self._limits.published)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    @property
    def open_streams(self) -> int:
        """Calls of EmbedStream that are not over, with a session or not."""
        return self._streams

    # One frame.

    async def _embed(self, agreement: Agreement, frame: frame_pb2.Frame) -> JobAnswer:
        """The answer to a call's only frame, also while the server drains. Raises GoingAway if there will be none."""
        session = self._runtime.open_session(agreement)
        try:
            self._take_frame(session, frame, None)
            self._runtime.half_closed(session)
            while True:
                match item := await session.mail.get():
                    case Answer():
                        self._runtime.answer_written(session)
                        return item
                    case SendDrain():
                        pass  # there is nobody to tell: the call ends with its answer
                    case End():
                        raise GoingAway("the server is stopping; send the frame elsewhere")
                    case _:
                        assert_never(item)
        finally:
            self._runtime.session_lost(session.key)

    # One stream.

    async def _stream(self, context: StreamContext) -> EndCause:
        """A stream from its first message to its end. Raises CallRefused for what the client did wrong."""
        self._streams += 1
        try:
            client = self._access.client_of(context)
            return await self._session(await self._first(context), client, context)
        finally:
            self._streams -= 1

    async def _first(self, context: StreamContext) -> session_pb2.SessionOpen:
        """Read the first message. Raises CallRefused."""
        self._refuse_when_leaving()
        if self._streams > 2 * self._limits.max_sessions:  # a full server's sessions may all be resumed at once
            limit = self._limits.max_sessions
            raise TooManySessions(f"twice as many streams are open as sessions may be, {limit} (max_sessions)")
        first = await opening_message(context, self._limits.open_timeout_s)
        self._refuse_when_leaving()  # once more: nobody would ask a session to leave that is opened behind the drain
        return first

    async def _session(self, first: session_pb2.SessionOpen, client: str, context: StreamContext) -> EndCause:
        """Agree, and serve until the session is over. Raises CallRefused."""
        agreement = parse_session(first, client=client, models=self._models, window=self._limits.window)
        opened = answers.session_opened(first, agreement, self._models, self._limits.published)
        with shared_memory(first, context.peer(), self._limits.shared_memory) as shared:
            if shared.answer is not None:
                opened.shared_memory.CopyFrom(shared.answer)
            holding = self._epochs.hold(client, first.session_id, first.epoch)
            session = self._runtime.open_session(agreement)
            try:
                with SessionRecord(agreement.terms.flow, first.epoch) as record:
                    await context.write(Response(session_opened=opened))
                    record.cause = await self._serve(session, holding, shared.segment, context, record)
                    return record.cause
            finally:
                self._runtime.session_lost(session.key)
                self._epochs.release(holding)

    def _refuse_when_leaving(self) -> None:
        if self.going_away:
            raise GoingAway("the server is stopping; send the frames elsewhere")

    async def _serve(
        self,
        session: Session,
        holding: Holding,
        segment: Segment | None,
        context: StreamContext,
        record: SessionRecord,
    ) -> EndCause:
        """Read and write until the session is over. Raises CallRefused for what the client did wrong."""
        write = asyncio.create_task(self._write(session, context, record))
        aged = self._watch_age(session)
        tasks = {
            write,
            asyncio.create_task(self._read(session, segment, context)),
            asyncio.create_task(session.stalled.wait()),
            asyncio.create_task(holding.taken_over()),
        }
        try:
            open_tasks = tasks
            while not (write.done() or session.stalled.is_set()):
                done, open_tasks = await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            if session.stalled.is_set():
                flow = session.agreement.terms.flow
                log.warning("session_stalled", client=flow.client, camera_id=flow.camera_id)
                return EndCause.STALLED
            return write.result()
        finally:
            if aged is not None:
                aged.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _watch_age(self, session: Session) -> asyncio.TimerHandle | None:
        """Have the session asked to leave when it is old; later than its connection, so that it comes back on another.

        Not all at once: clients that came together would go together.
        """
        limits = self._limits
        if not limits.max_age_s:
            return None
        age_s = limits.max_age_s * random.uniform(1.1, 1.2)  # noqa: S311 - to spread, not to hide
        reason = DrainReason.CONNECTION_AGE
        loop = asyncio.get_running_loop()
        return loop.call_later(age_s, self._runtime.drain_session, session, reason, limits.drain_timeout_s)

    async def _read(self, session: Session, segment: Segment | None, context: StreamContext) -> None:
        """Take messages while the session may be read."""
        while True:
            await session.readable.wait()
            message = await next_message(context)
            if message is None:
                self._runtime.half_closed(session)
                return
            match message.WhichOneof("message"):
                case "frame":
                    self._take_frame(session, message.frame, segment)
                case "session_open":
                    raise InvalidCall("session_open may be sent only once, first")
                case "end_tracks":
                    raise NotOffered("EndTracks: this server does not aggregate tracks")
                case _:
                    raise InvalidCall("a message is empty: set one of frame, end_tracks")
            del message  # it may be large, and the next one may be long in coming

    def _take_frame(self, session: Session, message: frame_pb2.Frame, segment: Segment | None) -> None:
        parsed: tuple[FrameRequest, FrameJob] | FrameFault
        try:
            parsed = self._parser.parse(message, session.agreement, segment)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this frame's, and the stream goes on
            log.failure("frame_not_parsed", error)
            parsed = FrameFault(reason=FaultReason.INTERNAL, message="the frame could not be read")
        if isinstance(parsed, FrameFault):
            self._runtime.frame_refused(session, message.frame_id, parsed)
        else:
            self._runtime.frame_arrived(session, *parsed)

    async def _write(self, session: Session, context: StreamContext, record: SessionRecord) -> EndCause:
        """Write what the session's mailbox holds until its end."""
        while True:
            item = await session.mail.get()
            match item:
                case Answer():
                    await context.write(Response(frame_result=answers.frame_result(item, self._models)))
                    self._runtime.answer_written(session)
                    record.written(item)
                case SendDrain():
                    await context.write(Response(drain=answers.drain(item)))
                case End():
                    return item.cause
                case _:
                    assert_never(item)
            del item  # its vectors may be large, and the next one may be long in coming
