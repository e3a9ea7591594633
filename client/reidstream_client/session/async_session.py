"""A session on `grpc.aio`: a thin shell that moves messages between the call, the ledger and the caller.

Two tasks of its own write and read, because cancelling a read or a write of gRPC cancels the whole call: so a caller
may give up waiting in `send` or in the iteration without harm. Trap: whatever ends the session must wake everybody who
waits, and must say which frames have no answer; `_end` is the only place that does it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_client.connection.stream_call import StreamCall
from reidstream_client.errors import (
    CallTimeout,
    InvalidRequest,
    ProtocolFault,
    ReidError,
    SessionDrained,
    SessionEnded,
    UnreadAnswers,
)
from reidstream_client.frames.framing import PreparedFrame, captured_at, check_message_size, prepare
from reidstream_client.frames.images import Image, PixelArray
from reidstream_client.frames.results import parse_result
from reidstream_client.frames.shared_memory import SharedMemory
from reidstream_client.types import FrameEmbeddings
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from .endings import drain_reason, local_result, verdict
from .ledger import Delivery, FrameLedger, LedgerStatistics, LocalAnswer, Offer
from .opening import SessionInfo

MAX_UNREAD = 4096
"""Answers that may wait to be taken, beside the window, before `send` says so."""


@dataclass(slots=True, kw_only=True)
class _Pending:
    """What is known of a frame until its answer: its boxes, its slot of shared memory, and since when it is in the
    window.
    """

    boxes: int
    slot: int | None
    sent_s: float | None = None


class AsyncSession:
    """One camera's stream, open. Made by `AsyncReidClient.stream`. One event loop; one task iterates.

    Iteration gives every frame that `send` took exactly once, in the agreed order, and then ends (after `finish`) or
    raises why the session ended, with the ids that have no answer.
    """

    def __init__(
        self,
        call: StreamCall,
        opened: SessionInfo,
        *,
        max_message_bytes: int,
        answer_timeout_s: float,
        shared: SharedMemory | None = None,
    ) -> None:
        self.opened = opened
        self._shared = shared
        self._call = call
        self._target = call.target
        self._max_message = min(max_message_bytes, opened.limits.max_message_bytes or max_message_bytes)
        self._answer_timeout_s = answer_timeout_s
        self._ledger: FrameLedger[PreparedFrame, FrameEmbeddings] = FrameLedger(
            max_frames=opened.window_frames,
            max_bytes=opened.window_bytes,
            ordering=opened.ordering,
            policy=opened.overload_policy,
        )
        self._pending: dict[int, _Pending] = {}
        self._outbox: deque[bytes | PreparedFrame] = deque()
        self._ready: deque[FrameEmbeddings] = deque()
        self._drain: session_pb2.Drain | None = None
        self._finishing = self._ended = self._writing = False
        self._error: ReidError | None = None
        self._sending = asyncio.Lock()
        self._room, self._outgoing, self._incoming = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stall_check = self._loop.call_later(answer_timeout_s, self._check_stall)
        self._tasks: tuple[asyncio.Task[None], ...] = (
            self._loop.create_task(self._read()),
            self._loop.create_task(self._write()),
        )

    async def send(
        self,
        image: Image,
        boxes: npt.ArrayLike | None = None,
        *,
        frame_id: int | None = None,
        class_ids: npt.ArrayLike | None = None,
        scores: npt.ArrayLike | None = None,
        track_ids: npt.ArrayLike | None = None,
        source_size: tuple[int, int] | None = None,
        capture_unix_ns: int | None = None,
        captured_monotonic: float | None = None,
        age_s: float | None = None,
    ) -> int:
        """Hand a frame over; returns its id. The image may be reused at once.

        `boxes`: (N, 4) x1, y1, x2, y2 in pixels of the image. `frame_id`: must increase; None takes the next one. When
        it was taken: `captured_monotonic` by `time.monotonic()`, or `age_s` seconds ago; else now. While the window is
        full, WAIT waits here, and the frame ages; the other policies never wait.

        Raises InvalidRequest, FrameTooLarge or UnreadAnswers, which leave the session as it was, or why the session
        ended. A frame for which this raises was not taken.
        """
        captured_s = captured_at(captured_monotonic, age_s)
        async with self._sending:
            self._check_open()
            frame = prepare(
                image,
                boxes,
                frame_id=self._ledger.next_id if frame_id is None else frame_id,
                class_ids=class_ids,
                scores=scores,
                track_ids=track_ids,
                source_size=source_size,
                capture_unix_ns=capture_unix_ns,
                captured_s=captured_s,
            )
            await self._submit(frame)
            return frame.frame_id

    async def submit(self, frame: PreparedFrame) -> None:
        """Hand over a frame that is prepared already; raises as `send` does."""
        async with self._sending:
            self._check_open()
            await self._submit(frame)

    def check_size(self, frame: PreparedFrame) -> None:
        """Raises FrameTooLarge for a frame that this session can never take."""
        check_message_size(frame, self._max_message)

    async def _submit(self, frame: PreparedFrame) -> None:
        slot: int | None = None
        if self._shared is not None:
            frame, slot = self._shared.place(frame)
        try:
            offer = await self._taken(frame)
        except BaseException:
            self._give_back(slot)
            raise
        self._pending[frame.frame_id] = _Pending(boxes=frame.boxes, slot=slot)
        if offer is Offer.SEND:
            self._post(frame)
        self._deliver(self._ledger.deliverable())

    async def _taken(self, frame: PreparedFrame) -> Offer:
        """Wait for what becomes of the frame, which is not WAIT."""
        self.check_size(frame)
        self._ledger.check(frame.frame_id, frame.max_bytes)
        while (offer := self._offer(frame)) is Offer.WAIT:
            self._room.clear()
            await self._room.wait()
            self._check_open()
        return offer

    def frame_buffer(self, height: int, width: int) -> PixelArray:
        """An array (height, width, 3) uint8 to fill with a BGR frame and to `send`: what lies there is not copied.

        Once it was sent, it belongs to the session; take another one for the next frame. In a session without shared
        memory, or when all of it is in use, it is an array like any other.
        """
        lent = None if self._shared is None else self._shared.lend(height, width)
        return np.empty((height, width, 3), np.uint8) if lent is None else lent

    async def finish(self) -> None:
        """Say that no more frames will come. Iterate on for the answers that are open; the iteration then ends."""
        self._finishing = True
        self._outgoing.set()
        self._room.set()

    def take(self) -> list[FrameEmbeddings]:
        """The answers that are here, without waiting, and without raising why a session ended."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def statistics(self) -> LedgerStatistics:
        """What is in the window, held and undelivered now."""
        return self._ledger.statistics()

    async def close(self) -> None:
        """End the session now, whatever is open. Closing twice is harmless."""
        self._end(SessionEnded(f"{self._target}: the session was closed"))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        tasks, self._tasks = self._tasks, ()  # a cancelled task holds the frames in which it was waiting
        for task in tasks:
            if not task.cancelled():
                task.result()

    def __aiter__(self) -> AsyncSession:
        return self

    async def __anext__(self) -> FrameEmbeddings:
        while not self._ready:
            if self._ended:
                if self._error is not None:
                    raise self._error.with_traceback(None)
                raise StopAsyncIteration
            self._incoming.clear()
            await self._incoming.wait()
        return self._ready.popleft()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._drain is not None:
            raise SessionDrained(f"{self._target} is leaving ({drain_reason(self._drain)}); send this frame elsewhere")
        if self._finishing or self._ended:
            raise InvalidRequest("this session was finished; open another one to send more")
        if len(self._pending) + len(self._ready) >= MAX_UNREAD + self.opened.window_frames:
            raise UnreadAnswers(f"{len(self._ready)} answers wait to be taken; iterate over the session while sending")

    def _offer(self, frame: PreparedFrame) -> Offer:
        if self._ledger.would_hold(frame.max_bytes):
            frame = frame.owned()
        return self._ledger.offer(frame.frame_id, frame.max_bytes, frame)

    def _post(self, frame: PreparedFrame) -> None:
        """Queue a frame of the window for the writer; encoded at once if it can go at once."""
        now = time.monotonic()
        self._pending[frame.frame_id].sent_s = now
        busy = self._writing or self._outbox
        self._outbox.append(frame.owned() if busy else frame.stream_message(now))
        self._outgoing.set()

    async def _write(self) -> None:
        while not self._ended:
            while self._outbox:
                item = self._outbox.popleft()
                self._writing = True
                message = item if isinstance(item, bytes) else item.stream_message(time.monotonic())
                if not await self._call.write(message):
                    return  # the call has ended; the reader learns how
                self._writing = False
            if self._drain is not None or (self._finishing and not self._ledger.holds):
                await self._call.done_writing()
                return
            self._outgoing.clear()
            await self._outgoing.wait()

    async def _read(self) -> None:
        error: ReidError | None = SessionEnded(f"{self._target}: the session was closed")
        try:
            while (message := await self._call.read()) is not None:
                self._handle(message)
            error = None
        except ReidError as why:
            error = why
        finally:
            self._end(error)

    def _handle(self, message: service_pb2.EmbedStreamResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "frame_result":
            self._on_result(message.frame_result)
        elif kind == "drain":
            self._on_drain(message.drain)
        elif kind is not None:  # None: a message of a newer contract, which is no concern of ours
            raise ProtocolFault(f"the server sent {kind}, which has no place here")

    def _on_result(self, message: frame_pb2.FrameResult) -> None:
        pending = self._pending.get(message.frame_id)
        if pending is None or pending.sent_s is None:
            raise ProtocolFault(f"the server answered frame {message.frame_id}, which does not wait for an answer")
        result = parse_result(
            message,
            boxes=pending.boxes,
            models=self.opened.models,
            round_trip_s=time.monotonic() - pending.sent_s,
        )
        self._ledger.answered(message.frame_id, result)
        self._give_back(self._pending.pop(message.frame_id).slot)
        released = self._ledger.release()
        if released is not None:
            self._post(released)
        self._deliver(self._ledger.deliverable())
        self._room.set()
        self._outgoing.set()

    def _on_drain(self, drain: session_pb2.Drain) -> None:
        self._drain = drain
        last = drain.last_accepted_frame_id if drain.HasField("last_accepted_frame_id") else None
        for frame_id in self._ledger.drain(last):
            del self._pending[frame_id]
        self._outbox.clear()
        self._deliver(self._ledger.deliverable())
        self._room.set()
        self._outgoing.set()

    def _deliver(self, deliveries: Sequence[Delivery[FrameEmbeddings]]) -> None:
        for delivery in deliveries:
            answer = delivery.answer
            if isinstance(answer, LocalAnswer):
                pending = self._pending.pop(delivery.frame_id)
                self._give_back(pending.slot)
                answer = local_result(delivery.frame_id, answer, pending.boxes, self.opened.models)
            self._ready.append(answer)
        if deliveries:
            self._incoming.set()

    def _give_back(self, slot: int | None) -> None:
        if self._shared is not None:
            self._shared.give_back(slot)

    def _check_stall(self) -> None:
        """End a session whose server holds the line and says nothing: nobody may wait for ever."""
        oldest = next((pending.sent_s for pending in self._pending.values() if pending.sent_s is not None), None)
        now = time.monotonic()
        due = self._answer_timeout_s if oldest is None else oldest + self._answer_timeout_s - now
        if due <= 0:
            self._end(CallTimeout(f"{self._target}: a frame had no answer within {self._answer_timeout_s} s"))
        else:
            self._stall_check = self._loop.call_later(due, self._check_stall)

    def _end(self, error: ReidError | None) -> None:
        """Everything is over, for the reason given; None: the server ended the call with OK. Again: nothing."""
        if self._ended:
            return
        self._ended = True
        last, unanswered = self._ledger.close()
        self._deliver(last)
        self._pending.clear()
        self._outbox.clear()
        self._error = error or verdict(self._target, finished=self._finishing, drain=self._drain, unanswered=unanswered)
        if self._error is not None:
            self._error.unanswered = unanswered
        self._stall_check.cancel()
        self._call.cancel()
        if self._shared is not None:
            self._shared.close()
        for event in (self._room, self._outgoing, self._incoming):
            event.set()
