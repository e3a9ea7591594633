"""A session over one stream: a thin shell that moves messages between the call, the ledger and the caller.

Two tasks of its own read and write, because cancelling a read or a write of gRPC cancels the whole call. So a caller
may give up waiting in `send` or in the iteration without harm. Trap: at the end, everybody who waits must wake up and
learn which frames have no answer. `_end` is the only place that sees to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Generic, cast

import numpy.typing as npt
from typing_extensions import Unpack

from reidstream_client.choices import Ordering
from reidstream_client.connection.protocols import Call
from reidstream_client.errors import CallTimeout, ProtocolFault, ReidError, SessionEnded
from reidstream_client.frames.framing import PreparedFrame, captured_at, check_message_size
from reidstream_client.frames.images import Image, PixelArray
from reidstream_client.frames.shared_memory import SharedMemory, frame_buffer
from reidstream_client.options import FrameInput, FrameOptions, check_options, shows_options
from reidstream_client.types import Event_co
from reidstream_proto.v1 import service_pb2, session_pb2

from .alarm import Alarm
from .ending_tracks import EndsOnTheirWay, parse_ended
from .endings import end_of_stream, is_leaving, put_away, say_goodbye
from .inbox import Inbox
from .ledger import LedgerStatistics, Offer
from .local_answers import Budget
from .open_frames import OpenFrames
from .opening import SessionInfo
from .outbox import Outbox
from .preparing import Preparing
from .spans import FrameSpans
from .track_book import TrackBook


class AsyncSession(Generic[Event_co]):
    """One camera's stream, open. Made by `AsyncReidClient.stream`. Belongs to one event loop; one task iterates.

    Iteration gives the answer to every frame that `send` took exactly once, in the agreed order; with `tracks`, also
    the end of each track, once. Then it ends, after `finish`, or raises the error that ended the session, which has the
    ids without an answer.

    `ordering`: of the answers here, if not as agreed. `spans`: of frames. `book`: of tracks, if another one goes on.
    """

    def __init__(
        self,
        call: Call,
        opened: SessionInfo,
        *,
        max_message_bytes: int,
        answer_timeout_s: float,
        budget_grace_s: float,
        ordering: Ordering | None = None,
        shared: SharedMemory | None = None,
        spans: FrameSpans | None = None,
        book: TrackBook | None = None,
    ) -> None:
        self.opened = opened
        self._shared = shared
        self._call = call
        self._max_message = min(max_message_bytes, opened.limits.max_message_bytes or max_message_bytes)
        self._answer_timeout_s = answer_timeout_s
        self._budget = Budget(opened, budget_grace_s)
        self._outbox = Outbox(call, done=self._sends_no_more)
        self._frames = OpenFrames(
            opened,
            ordering=opened.ordering if ordering is None else ordering,
            budget=self._budget,
            take_back=self._outbox.take_back,
            shared=shared,
            book=book,
        )
        self._ledger = self._frames.ledger
        self._ends = EndsOnTheirWay(say=self._outbox.say, holds_before=self._ledger.holds_before)
        spans = FrameSpans() if spans is None else spans
        self._inbox = Inbox(spans)
        self._preparing = Preparing(opened, spans)
        self._drain: session_pb2.Drain | None = None
        self._finishing = False
        self._sending = asyncio.Lock()
        self._room = asyncio.Event()
        self._alarm = Alarm(self._look)
        begin = asyncio.get_running_loop().create_task
        self._tasks: tuple[asyncio.Task[None], ...] = (begin(self._read()), begin(self._outbox.run()))

    @shows_options(FrameOptions, FrameInput)
    async def send(self, image: Image, boxes: npt.ArrayLike | None = None, **options: Unpack[FrameOptions]) -> int:
        """Hand a frame over and return its id. You may reuse the image at once. `options`: `FrameOptions`.

        `boxes`: (N, 4) x1, y1, x2, y2 in pixels of the image. While the window is full, the policy WAIT waits here, and
        the frame ages; the other policies never wait.

        Raises InvalidRequest, FrameTooLarge or UnreadAnswers, which leave the session as it was, or the error that
        ended the session. If this raises, the frame was not taken.
        """
        check_options(FrameOptions, options, "send")
        return await self.send_frame(FrameInput(image=image, boxes=boxes, **options))

    async def send_frame(self, frame: FrameInput) -> int:
        """Hand a frame over and return its id: `send` with the frame and its options in one object. Same errors."""
        captured_s = captured_at(frame)
        async with self._sending:
            self._check_open()
            with self._preparing.frame(frame, next_id=self._ledger.next_id, captured_s=captured_s) as prepared:
                await self._submit(prepared)
            return prepared.frame_id

    async def submit(self, frame: PreparedFrame) -> None:
        """Hand over a prepared frame; raises as `send` does."""
        async with self._sending:
            self._check_open()
            await self._submit(frame)

    def check_size(self, frame: PreparedFrame) -> None:
        """Raises FrameTooLarge for a frame that this session can never take."""
        check_message_size(frame, self._max_message)
        if self._shared is None:  # else its pixels may not travel at all
            self._ledger.check_size(frame.max_bytes)

    async def _submit(self, frame: PreparedFrame) -> None:
        frame, slot = (frame, None) if self._shared is None else self._shared.place(frame)
        try:
            offer = await self._taken(frame)
        except BaseException:
            self._frames.give_back(slot)
            raise
        self._frames.taken(frame, slot)
        self._ends.go()
        if offer is Offer.SEND:
            self._post(frame)
        self._alarm.by(self._budget.wait_until(frame.captured_s))
        self._inbox.put(self._frames.delivered())

    async def _taken(self, frame: PreparedFrame) -> Offer:
        """Wait until the frame is taken; says what became of it, which is never WAIT."""
        check_message_size(frame, self._max_message)
        self._ledger.check_id(frame.frame_id)
        self._ledger.check_size(frame.max_bytes)
        while (offer := self._frames.offer(frame, time.monotonic())) is Offer.WAIT:
            self._alarm.by(self._budget.send_until(frame.captured_s))
            self._room.clear()
            await self._room.wait()
            self._check_open()
        return offer

    def frame_buffer(self, height: int, width: int) -> PixelArray:
        """An array (height, width, 3) uint8. Fill it with a BGR frame and `send` it: its pixels are not copied.

        A sent array belongs to the session; take another one for the next frame. Without shared memory, or when all of
        it is in use, this is an ordinary array.
        """
        return frame_buffer(self._shared, height, width)

    async def end_tracks(self, track_ids: Iterable[int]) -> None:
        """Say that these tracks are over, after the frames that were sent until now. Each that is open comes as
        TrackEnded behind the answer to its last frame; others are ignored. The same id in a later frame is a new track.

        Raises InvalidRequest, also in a session without `tracks`, or the error that ended the session.
        """
        ids = parse_ended(self.opened, track_ids)
        async with self._sending:
            self._inbox.raise_error()
            self._inbox.check_not_over(finishing=self._finishing)
            self._ends.put(ids, before=self._ledger.next_id)

    async def finish(self) -> None:
        """Say that no more frames will come. Iterate on for the answers that are missing; then the iteration ends."""
        self._finishing = True
        self._changed()

    def take(self) -> list[Event_co]:
        """The answers that have come. Never waits, and never raises the error that ended the session."""
        return cast("list[Event_co]", self._inbox.take())  # ends of tracks come where `tracks` were asked for

    def statistics(self) -> LedgerStatistics:
        """What is in the window, held, and undelivered now."""
        return self._ledger.statistics()

    async def close(self) -> None:
        """End the session now, and give up what has no answer. Closing twice is harmless.

        The server is told, which takes a moment: a second at most, where it says nothing.
        """
        listening = not (self._inbox.ended or self._ledger.owed)
        self._end(SessionEnded(f"{self._call.target}: the session was closed"), leave_call=True)
        try:
            if listening:
                reading, writing = self._tasks
                await say_goodbye(self._call, self.opened, self._outbox, reading=reading, writing=writing)
        finally:
            self._call.cancel()
            tasks, self._tasks = self._tasks, ()  # a cancelled task holds the frames in which it was waiting
            await put_away(tasks)

    def __aiter__(self) -> AsyncSession[Event_co]:
        return self

    async def __anext__(self) -> Event_co:
        return cast("Event_co", await self._inbox.next())

    def _check_open(self) -> None:
        self._inbox.raise_error()
        if self._drain is not None:
            raise is_leaving(self._call.target, self._drain, "send this frame elsewhere")
        self._inbox.check_open(
            finishing=self._finishing, open_frames=len(self._frames), window_frames=self.opened.window_frames
        )

    def _post(self, frame: PreparedFrame) -> None:
        """Send a frame of the window."""
        now = time.monotonic()
        self._frames.posted(frame.frame_id, now)
        self._outbox.post(frame, now)
        self._alarm.by(now + self._answer_timeout_s)

    def _sends_no_more(self) -> bool:
        return self._drain is not None or (self._finishing and not self._ledger.holds)

    async def _read(self) -> None:
        error: ReidError | None = SessionEnded(f"{self._call.target}: the session was closed")
        try:
            while (message := await self._call.read()) is not None:
                if not self._inbox.ended:  # else nobody wants it, and the end is still to come
                    self._handle(message)
            error = None
        except ReidError as why:
            error = why
        finally:
            self._end(error)

    def _handle(self, message: service_pb2.EmbedStreamResponse) -> None:
        kind = message.WhichOneof("message")
        if kind == "frame_result":
            self._frames.answered(message.frame_result, time.monotonic())
            self._changed()
        elif kind == "track_ended" and self.opened.tracks is not None:
            self._inbox.put_end(self._frames.track_ended(message.track_ended))
        elif kind == "drain":
            self._drain = message.drain
            self._frames.drain(message.drain, time.monotonic())
            self._outbox.clear()
            self._changed()
        elif kind is not None:  # None: a message of a newer contract, which is no concern of ours
            raise ProtocolFault(f"the server sent {kind}, which the contract does not allow here")

    def _changed(self) -> None:
        """Frames were answered, or no more will come: see who can go on."""
        released = self._ledger.release()
        if released is not None:
            self._post(released)
        self._ends.go()
        self._inbox.put(self._frames.delivered())
        if self._finishing and self._frames.owes_late_answers_only:
            self._end(None)  # it may be long in ending the call
        self._room.set()
        self._outbox.wake()

    def _look(self) -> None:
        """Answer the frames that have waited for too long. End the session if the server keeps the connection and says
        nothing, so that nobody waits for ever.
        """
        now = time.monotonic()
        since = self._frames.asked_since_s()
        if since is not None and since + self._answer_timeout_s <= now:
            self._end(CallTimeout(f"{self._call.target}: a frame had no answer within {self._answer_timeout_s} s"))
            return
        self._frames.give_up_late(now)
        self._changed()
        self._alarm.by(None if since is None else since + self._answer_timeout_s)
        self._alarm.by(self._frames.next_late_s())

    def _end(self, error: ReidError | None, *, leave_call: bool = False) -> None:
        """End everything because of `error`; None: the server ended the call with OK. The second time, do nothing.

        `leave_call`: all but the call.
        """
        if self._inbox.ended:
            return
        left = self._frames.close()
        self._inbox.put(left.answers)
        if error is None:
            error = end_of_stream(self._call.target, left, finished=self._finishing, drain=self._drain)
        if error is not None:
            error.unanswered = left.unanswered
        self._inbox.end(error)
        self._alarm.stop()
        if self._shared is not None:
            self._shared.close()
        self._room.set()
        self._outbox.end()
        if not leave_call:
            self._call.cancel()
