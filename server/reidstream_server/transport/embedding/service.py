"""EmbeddingService: its four methods, and how a stream opens.

Trap: whatever ends a call, its session is given back in `finally`, before the status is sent: a client that does not
read never takes a status.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import partial
from typing import TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2, service_pb2_grpc, session_pb2
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.sharing import Pool
from reidstream_server.errors import TooManySessions
from reidstream_server.identity.access import Access, Caller
from reidstream_server.intake.ask import ask_held
from reidstream_server.intake.fields import check_model_name
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.memory.budget import MemoryBudget
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import Origin
from reidstream_server.runtime.trace import FrameTrace, FrameTracer
from reidstream_server.tracks.track import Snapshot
from reidstream_server.transport.entrance.apart import Apart
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.grpc_server.caller import presented_by
from reidstream_server.transport.grpc_server.calls import CallObserver, abort, abort_stalled, refuse, when_over
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.unparsable import Unparsed
from reidstream_server.transport.status import FRAMES

from . import answers
from .epochs import Epochs
from .frames import FrameReader, has_many_crops
from .models import details, limits_message, memory_message, summary
from .options import CallLimits, parse_session, parse_unary
from .reading import Request, StreamContext, opening_message, opening_of
from .record import SessionRecord
from .shared import shared_memory
from .stream import Stream
from .traces import FrameTraces, session_field
from .track_options import parse_open_tracks

UnaryContext: TypeAlias = grpc.aio.ServicerContext[object, object]

OPENING_PLACES = 16
"""First messages of streams that are received at a time."""

_MANY_TRACKS = 32  # reading more of them takes longer than the event loop should do without a pause
_OPENING_PATIENCE_S = 1.0
_MORE_OPENINGS = 64
"""Streams that may be silent beside twice the sessions: half of those let all sessions be resumed at once by one
client.
"""

SERVICE = service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name
_EMBED, _STREAM = f"{SERVICE}/Embed", f"{SERVICE}/EmbedStream"


class EmbeddingService(service_pb2_grpc.EmbeddingServiceServicer):
    """The service; see the .proto for what each method promises."""

    def __init__(
        self,
        runtime: Runtime,
        intake: FrameIntake,
        *,
        limits: CallLimits,
        access: Access,
        observer: CallObserver,
        budget: MemoryBudget,
        apart: Apart,
        tracer: FrameTracer | None = None,
    ) -> None:
        self._memory = memory_message(budget)
        self._observer = observer
        self._tracer = tracer
        self._access = access
        self._runtime = runtime
        self._models = runtime.models
        self._reader = FrameReader(intake=intake)
        self.apart = apart
        self._limits = limits
        self._published = limits_message(limits.published)
        self._streams = 0
        self._epochs = Epochs(limits.max_sessions, limits.max_sessions_per_client)
        self._reception = Reception(
            places=OPENING_PLACES, timeout_s=limits.open_timeout_s, patience_s=_OPENING_PATIENCE_S
        )
        self._openings: Pool[str] = Pool(2 * limits.max_sessions + _MORE_OPENINGS)

    @property
    def hosted(self) -> HostedService:
        """As the port takes it."""
        return HostedService(
            name=SERVICE,
            add=partial(service_pb2_grpc.add_EmbeddingServiceServicer_to_server, self),
            while_leaving=frozenset({"ListModels", "GetModel"}),
        )

    async def EmbedStream(  # type: ignore[override]  # noqa: N802 - grpc.aio's reader and writer style; contract's name
        self, request_iterator: AsyncIterator[Request], context: StreamContext
    ) -> None:
        """One camera's stream."""
        del request_iterator  # read through the context, when there is room for a message
        try:
            cause = await self._stream(context)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)
        if cause is EndCause.STALLED:
            await abort_stalled(context)

    async def Embed(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[service_pb2.EmbedRequest], context: UnaryContext
    ) -> service_pb2.EmbedResponse:
        """One frame, one answer."""
        traces: FrameTraces | None = None
        try:
            caller = self._access.caller_of(presented_by(context))
            began = time.monotonic_ns()
            asked = (await self.apart.do(caller.source, request.read)).value if request.large else request.read()
            agreement = parse_unary(asked.options, caller=caller, models=self._models, window=self._limits.window)
            trace: FrameTrace | None = None
            if self._tracer is not None:
                traces = FrameTraces(self._tracer, _EMBED, agreement.terms.flow)
                trace = traces.begin(asked.frame, began, context.invocation_metadata())
            read = partial(self._reader.read, asked.frame, agreement, trace=trace)
            if request.large or has_many_crops(asked.frame):
                done = await self.apart.do(caller.source, read)
                taken, spent = done.value, done.spent_ns
            else:
                taken = read()
                spent = time.monotonic_ns() - began
            if traces is not None and isinstance(taken, FrameFault):
                traces.refused(trace, taken)
            held = await ask_held(self._runtime, agreement, asked.frame.frame_id, taken, spent_ns=spent)
            when_over(lambda written: held.over(written=written))
            answer = held.answer
            if traces is not None:
                traces.answered(answer)
            if answer.fault is not None:
                await abort(
                    context,
                    FRAMES[answer.fault.reason].grpc,
                    answer.fault.message,
                    reason=answer.fault.reason.value,
                    retry_after_ms=answer.fault.retry_after_ms,
                )
            return service_pb2.EmbedResponse(
                result=answers.frame_result(answer), apply_exif_orientation=agreement.upright
            )
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)
        finally:
            if traces is not None:
                traces.close()

    async def ListModels(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[service_pb2.ListModelsRequest], context: UnaryContext
    ) -> service_pb2.ListModelsResponse:
        """The models of this server."""
        try:
            self._access.client_of(presented_by(context))
            request.read()
            models = [summary(model, self._models) for model in self._models.models]
            return service_pb2.ListModelsResponse(models=models)
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    async def GetModel(  # type: ignore[override]  # noqa: N802
        self, request: Unparsed[service_pb2.GetModelRequest], context: UnaryContext
    ) -> service_pb2.GetModelResponse:
        """One model, and every limit."""
        try:
            self._access.client_of(presented_by(context))
            name = request.read().name
            check_model_name("name", name)
            model = self._models.find(name)
            return service_pb2.GetModelResponse(
                model=details(model, self._models), limits=self._published, memory=self._memory
            )
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self._observer)

    @property
    def open_streams(self) -> int:
        """Calls of EmbedStream that are not over, with a session or not."""
        return self._streams

    @property
    def sessions_of_largest_client(self) -> int:
        """Streams with a session, of the client (or connection) that has most."""
        return self._epochs.largest

    # One stream.

    async def _stream(self, context: StreamContext) -> EndCause:
        """A stream from its first message to its end. Raises CallRefused for what the client did wrong."""
        self._streams += 1
        try:
            caller = self._access.caller_of(presented_by(context))
            return await self._session(await self._first(caller, context), caller, context)
        finally:
            self._streams -= 1

    async def _first(self, caller: Caller, context: StreamContext) -> session_pb2.SessionOpen:
        """Read the first message. Raises CallRefused."""
        self._runtime.refuse_when_leaving()
        openings, mine = self._openings, self._openings.of(caller.source)
        if openings.taken >= openings.most or (mine and not openings.fits(caller.source, 1)):
            raise TooManySessions(
                f"{openings.taken} streams have not sent session_open yet, {mine} of them from this client; the limit "
                f"is {openings.most}, twice max_sessions and {_MORE_OPENINGS}, and one client gets at most half of it; "
                "send session_open at once, or open fewer streams at a time"
            )
        openings.take(caller.source, 1)
        try:
            unparsed = await opening_message(context, self._reception, caller.source)
        finally:
            openings.give_back(caller.source, 1)
        done = await self.apart.do_if(unparsed.large, caller.source, partial(opening_of, unparsed))
        first = done.value
        self._runtime.refuse_when_leaving()  # again: the drain may have begun meanwhile, and would not ask this session
        return first

    async def _open_tracks(self, first: session_pb2.SessionOpen, agreement: Agreement) -> tuple[Snapshot, ...]:
        """The tracks that the session goes on with. Many of them are read apart. Raises CallRefused."""
        if agreement.tracks is None or not first.track_options.open_tracks:
            return ()
        options, source = first.track_options, agreement.terms.source
        read = partial(parse_open_tracks, options, agreement, time.monotonic_ns())
        done = await self.apart.do_if(len(options.open_tracks) > _MANY_TRACKS, source, read)
        self._runtime.called(source, done.spent_ns)
        self._runtime.refuse_when_leaving()
        return done.value

    async def _session(self, first: session_pb2.SessionOpen, caller: Caller, context: StreamContext) -> EndCause:
        """Agree, and serve until the session is over. Raises CallRefused."""
        limits = self._limits
        agreement = parse_session(first, caller=caller, models=self._models, window=limits.window, tracks=limits.tracks)
        open_tracks = await self._open_tracks(first, agreement)
        first = _without_tracks(first)
        opened = answers.session_opened(first, agreement, self._published)
        with shared_memory(first, context.peer(), self._limits.shared_memory) as shared:
            if shared.answer is not None:
                opened.shared_memory.CopyFrom(shared.answer)
            with ExitStack() as held:
                holding = self._epochs.hold(caller, first.session_id, first.epoch)
                held.callback(self._epochs.release, holding)
                origin = Origin(peer=context.peer(), epoch=first.epoch)
                session = self._runtime.open_session(agreement, origin, open_tracks)
                del open_tracks
                if session.tracks is not None:
                    held.callback(session.tracks.close)
                held.callback(self._runtime.session_lost, session.key)
                figures = partial(self._runtime.session_figures, session)
                flow, tracer = agreement.terms.flow, self._tracer
                named = session_field(tracer, context.invocation_metadata() if tracer is not None else None)
                with SessionRecord(flow, first.epoch, figures, named) as record:
                    stream = Stream(
                        context=context,
                        opened=opened,
                        session=session,
                        holding=holding,
                        segment=shared.segment,
                        runtime=self._runtime,
                        reader=self._reader,
                        apart=self.apart,
                        limits=self._limits,
                        traces=None if tracer is None else FrameTraces(tracer, _STREAM, flow),
                    )
                    record.cause = await stream.serve()
                    return record.cause


def _without_tracks(first: session_pb2.SessionOpen) -> session_pb2.SessionOpen:
    """The rest of an opening: a message keeps what it held as long as it lives, and a session may live for days."""
    if not first.track_options.open_tracks:
        return first
    first.track_options.ClearField("open_tracks")
    rest = session_pb2.SessionOpen()
    rest.CopyFrom(first)
    return rest
