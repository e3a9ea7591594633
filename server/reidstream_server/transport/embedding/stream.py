"""An open stream: one task reads it, one writes it, and the runtime is between them.

Trap: whatever ends a stream (the client, a fault of the protocol, the drain, a client that does not read), `serve`
returns or raises before a status is sent: a client that does not read never takes a status. So Close ends the stream
even if an answer is being written.

A large message is taken apart (`stream_messages`). The next message is read when one was taken, so frames stay in
order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, assert_never

from reidstream_proto.v1 import contract, frame_pb2, session_pb2
from reidstream_server.core.effects import Answer, End, EndCause, SendDrain
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import InvalidCall, NotOffered, NoTracks
from reidstream_server.intake.fields import check_count
from reidstream_server.intake.frames import FrameOrFault, SightedFrame
from reidstream_server.logs import get_logger
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import Session
from reidstream_server.runtime.trace import FrameTrace
from reidstream_server.runtime.tracking import SessionTracks
from reidstream_server.tracks.track import TrackEnded
from reidstream_server.transport.entrance.apart import Apart, Turn
from reidstream_server.transport.grpc_server.calls import is_taken
from reidstream_server.transport.grpc_server.stream_messages import JOINING_NS_PER_BYTE, Arriving, Large, StreamMessages
from reidstream_server.transport.grpc_server.unparsable import Unparsed

from . import answers, tracks
from .epochs import Holding
from .frames import FrameReader, has_many_boxes, has_many_crops
from .lifetime import Lifetime
from .options import CallLimits
from .reading import Request, Response, StreamContext
from .shared_segment import Segment
from .traces import FrameTraces

log = get_logger(__name__)

Read: TypeAlias = "tuple[int, FrameOrFault | SightedFrame, FrameTrace | None] | Request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A call of EmbedStream whose session is open. `serve` once; event loop only.

    `opened`: what it is told first. `holding`: its hold on the session's name. `segment`: memory that its client
    shares. `traces`: None where nothing is traced.
    """

    context: StreamContext
    opened: session_pb2.SessionOpened
    session: Session
    holding: Holding
    segment: Segment | None
    runtime: Runtime
    reader: FrameReader
    apart: Apart
    limits: CallLimits
    traces: FrameTraces | None = None

    async def serve(self) -> EndCause:
        """Read and write until the session is over. Raises CallRefused for what the client did wrong."""
        try:
            with Lifetime(self.session, self.runtime, self.limits):
                return await self._serve()
        finally:
            if self.traces is not None:
                self.traces.close()

    async def _serve(self) -> EndCause:
        # Before anything is read: with a read beside a call's first write, streams of the fuzz test hung.
        if not await self._written(Response(session_opened=self.opened)):
            return self._stalled()
        write, read = asyncio.create_task(self._write()), asyncio.create_task(self._read())
        others: tuple[Coroutine[object, object, object], ...] = (
            self.session.stalled.wait(),
            self.holding.taken_over(),
        )
        tasks: set[asyncio.Task[object]] = {write, read, *map(asyncio.create_task, others)}
        try:
            open_tasks = tasks
            while not (write.done() or self.session.stalled.is_set()):
                done, open_tasks = await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if read.done() and (cause := read.result()) is not None:
                    return cause
            cause = EndCause.STALLED if self.session.stalled.is_set() else write.result()
            return self._stalled() if cause is EndCause.STALLED else cause
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _stalled(self) -> EndCause:
        flow = self.session.agreement.terms.flow
        log.warning("session_stalled", client=flow.client, camera_id=flow.camera_id)
        return EndCause.STALLED

    async def _read(self) -> EndCause | None:
        """Take messages while the session may be read. None: no more will come, and the answers are to be written."""
        messages: StreamMessages[Request, Request | None] = StreamMessages(
            self.apart, self._source, may_read=self._turn, take=self._take_large
        )
        while True:
            await self.session.readable.wait()
            arriving: Arriving[Request] = Arriving(self.context)
            await arriving
            came = await messages.come(arriving)
            del arriving
            began = time.monotonic_ns()
            if came is None:
                self.runtime.half_closed(self.session)
                return None
            message = came.value if isinstance(came, Large) else came.read()
            del came
            if message is None:
                continue  # a large frame, which was taken
            match message.WhichOneof("message"):
                case "frame" if self._takes_long(message.frame):
                    await self._take_apart(message.frame, began)
                case "frame":
                    self._take(message.frame, began)
                case "session_open":
                    raise InvalidCall("session_open may be sent once only, as the first message")
                case "close":
                    self.runtime.session_lost(self.session.key, EndCause.CLOSED)
                    return EndCause.CLOSED
                case "end_tracks":
                    self._end_tracks(message.end_tracks.track_ids)
                    self.runtime.called(self._source, time.monotonic_ns() - began)
                case _:
                    raise InvalidCall("the message is empty: set one of frame, end_tracks, close")
            del message  # it may be large, and the next one may be long in coming

    async def _turn(self) -> None:
        """Wait until the session may be read, again: its source may pay by now for what another session of it sent. All
        that came meanwhile would be parsed at once, and everybody would wait for it.
        """
        while not self.runtime.may_read(self.session):
            await self.session.readable.wait()

    def _take(self, message: frame_pb2.Frame, began: int) -> None:
        taken, trace = self._read_frame(message, began)
        self._taken(message.frame_id, taken, trace, time.monotonic_ns() - began)

    def _takes_long(self, message: frame_pb2.Frame) -> bool:
        """Whether reading it would hold the event loop."""
        return has_many_crops(message) if self.session.tracks is None else has_many_boxes(message)

    async def _take_apart(self, message: frame_pb2.Frame, began: int) -> None:
        """A frame that takes long to read."""
        done = await self.apart.do(self._source, partial(self._read_frame, message, began))
        self._taken(message.frame_id, *done.value, done.spent_ns)

    async def _take_large(self, unparsed: Unparsed[Request], turn: Turn) -> Request | None:
        """Take a frame; returns any other message. Raises InvalidCall."""
        joining_ns = int(unparsed.waiting_bytes * JOINING_NS_PER_BYTE)
        done = await turn.do(partial(self._read_large, unparsed, time.monotonic_ns()))
        if isinstance(done.value, Request):
            return done.value
        self._taken(*done.value, done.spent_ns + joining_ns)
        return None

    def _read_large(self, unparsed: Unparsed[Request], began: int) -> Read:
        """A frame's id, and what it is; or another message. Any thread. Raises InvalidCall."""
        request = unparsed.read()
        if not request.HasField("frame"):
            return request
        return request.frame.frame_id, *self._read_frame(request.frame, began)

    def _read_frame(
        self, message: frame_pb2.Frame, began: int
    ) -> tuple[FrameOrFault | SightedFrame, FrameTrace | None]:
        trace = None if self.traces is None else self.traces.begin(message, began)
        agreement = self.session.agreement
        if agreement.tracks is None:
            return self.reader.read(message, agreement, self.segment, trace), trace
        return self.reader.sight(message, agreement, self.segment, trace), trace

    def _taken(
        self, frame_id: int, taken: FrameOrFault | SightedFrame, trace: FrameTrace | None, spent_ns: int
    ) -> None:
        """A frame was read in this time. In a session with tracks it is decided now what is embedded of it: the memory
        of its tracks is the event loop's.
        """
        if isinstance(taken, SightedFrame):
            began = time.monotonic_ns()
            taken = self.reader.intake.decided(taken, self._tracks("frames with tracks"))
            spent_ns += time.monotonic_ns() - began
        if isinstance(taken, FrameFault):
            if self.traces is not None:
                self.traces.refused(trace, taken)
            self.runtime.frame_refused(self.session, frame_id, taken, spent_ns=spent_ns)
        else:
            self.runtime.frame_arrived(self.session, *taken, spent_ns=spent_ns)

    def _end_tracks(self, track_ids: Sequence[int]) -> None:
        """Raises CallRefused."""
        memory = self._tracks("EndTracks")
        check_count("EndTracks.track_ids", len(track_ids), contract.MAX_ENDED_TRACK_IDS)
        memory.end(track_ids)

    def _tracks(self, what: str) -> SessionTracks:
        """Raises CallRefused if the session has none."""
        if self.limits.tracks.max_tracks == 0:
            raise NotOffered(f"{what}: this server has no track memory (max_tracks_per_session is 0)")
        if self.session.tracks is None:
            raise NoTracks(f"{what}: this session has no track memory; open it with track_options")
        return self.session.tracks

    @property
    def _source(self) -> str:
        return self.session.agreement.terms.source

    async def _write(self) -> EndCause:
        """Write what the session's mailbox holds until its end."""
        mail, write = self.session.mail, self.context.write
        while True:
            item = await mail.get()
            match item:
                case Answer():
                    await write(Response(frame_result=answers.frame_result(item)))
                    self.runtime.answer_written(self.session, item)
                    if self.traces is not None:
                        self.traces.answered(item)
                case TrackEnded():
                    message = tracks.track_ended(item, self.session.agreement)
                    if not await self._written(Response(track_ended=message)):
                        return EndCause.STALLED
                    if self.session.tracks is not None:
                        self.session.tracks.written(item)
                case SendDrain():
                    if not await self._written(Response(drain=self._drain(item))):
                        return EndCause.STALLED
                case End():
                    return item.cause
                case _:
                    assert_never(item)
            del item  # its vectors may be large, and the next one may be long in coming

    def _drain(self, effect: SendDrain) -> session_pb2.Drain:
        """The request to leave, with the tracks that were open when it was made."""
        handed_over = () if self.session.tracks is None else self.session.tracks.take_over()
        message = answers.drain(effect)
        message.open_tracks.extend(tracks.snapshot(one, self.session.agreement) for one in handed_over)
        return message

    async def _written(self, message: Response) -> bool:
        """Write what is no answer, so that the core knows nothing of it; False if the client does not take it."""
        return await is_taken(self.context, message, self.limits.stall_timeout_s)
