"""A session that outlives its stream: if that is cut or drained, every frame is still answered exactly once.

Why a wrapper: `AsyncSession` says how its stream ended and which frames have no answer. Here those frames are kept, a
new stream is opened with the same session id and the next epoch, and they are sent again. The server may embed a frame
twice, which does no harm. The caller gets one answer, because an answer removes its frame from those that are kept.

Traps: vectors may be compared only within one space, so a server that answers in another space ends the session. And a
frame may be late while there is no stream at all, so the caller's budget is kept here as well as in each stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Generic, cast

import numpy.typing as npt
from typing_extensions import Self, Unpack

from reidstream_client.choices import OverloadPolicy
from reidstream_client.errors import InvalidRequest, ReidError, SessionEnded, SpaceMismatch
from reidstream_client.frames.framing import PreparedFrame, captured_at
from reidstream_client.frames.images import Image, PixelArray
from reidstream_client.frames.shared_memory import frame_buffer
from reidstream_client.options import FrameInput, FrameOptions, check_options, shows_options
from reidstream_client.types import Event_co, FrameEmbeddings, SessionEvent, TrackEnded

from .alarm import Alarm
from .async_session import AsyncSession
from .ending_tracks import parse_ended
from .feeding import Feeding
from .inbox import Inbox
from .kept_frames import KeptFrames
from .ledger import LedgerStatistics, LocalAnswer
from .local_answers import Budget, local_result
from .opener import Opener
from .opening import SessionInfo
from .patience import Patience, may_be_resumed
from .preparing import Preparing
from .spans import FrameSpans
from .track_book import TrackBook


class ResumingSession(Generic[Event_co]):
    """An AsyncSession over as many streams as it takes. Made by `AsyncReidClient.resuming_stream()`.

    `send` copies a raw image once, so that it can be sent again. Belongs to one event loop; one task iterates. `book`:
    what the streams of `opener` write their tracks into.
    """

    def __init__(
        self,
        first: AsyncSession[SessionEvent],
        opener: Opener,
        *,
        patience: Patience,
        budget_grace_s: float,
        book: TrackBook,
        spans: FrameSpans | None = None,
    ) -> None:
        self.opened: SessionInfo = first.opened
        self._session = first
        self._opener = opener
        self._patience = patience
        self._budget = Budget(first.opened, budget_grace_s)
        self._epoch = 0
        self._next_id = 0
        self._frames = KeptFrames(first.opened)
        self._book = book
        self._feeding = Feeding(self._frames, book)
        self._served = 0  # answers of servers, and ends of tracks
        spans = FrameSpans() if spans is None else spans
        self._inbox = Inbox(spans)
        self._preparing = Preparing(first.opened, spans)
        self._between_streams = False
        self._sending = asyncio.Lock()
        self._room = asyncio.Event()
        self._alarm = Alarm(self._look)
        self._task = asyncio.get_running_loop().create_task(self._run())

    @classmethod
    async def begin(
        cls, opener: Opener, *, give_up_after_s: float, budget_grace_s: float, spans: FrameSpans | None = None
    ) -> Self:
        """Open the first stream, with the patience that later ones have. Raises what the opening raises."""
        first = await opener.open(0, book := TrackBook(), within_s=give_up_after_s)
        patience = Patience(give_up_after_s)
        return cls(first, opener, patience=patience, budget_grace_s=budget_grace_s, book=book, spans=spans)

    @property
    def epoch(self) -> int:
        """How often the session was resumed."""
        return self._epoch

    @shows_options(FrameOptions, FrameInput)
    async def send(self, image: Image, boxes: npt.ArrayLike | None = None, **options: Unpack[FrameOptions]) -> int:
        """Hand a frame over and return its id; it is copied, to be sent again if its stream is cut.

        `boxes`: (N, 4) x1, y1, x2, y2 in pixels of the image. While the window is full, or there is no stream, the
        policy WAIT waits here, and the frame ages; the other policies never wait, and give frames up.

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
            with self._preparing.frame(frame, next_id=self._next_id, captured_s=captured_s) as prepared:
                await self._submit(prepared)
            return prepared.frame_id

    async def _submit(self, frame: PreparedFrame) -> None:
        if frame.frame_id < self._next_id:
            raise InvalidRequest(
                f"frame ids must increase within a session: {frame.frame_id} came after {self._next_id - 1}"
            )
        self._session.check_size(frame)
        while self.opened.overload_policy is OverloadPolicy.WAIT and not self._frames.has_room(frame):
            self._room.clear()
            await self._room.wait()
            self._check_open()
        self._take(frame.owned())

    def frame_buffer(self, height: int, width: int) -> PixelArray:
        """An array (height, width, 3) uint8 for a BGR frame: an ordinary one, since every frame is copied and kept."""
        return frame_buffer(None, height, width)

    async def end_tracks(self, track_ids: Iterable[int]) -> None:
        """Say that these tracks are over, after the frames that were sent until now. Each that is open comes as
        TrackEnded behind the answer to its last frame; others are ignored. The same id in a later frame is a new track.

        Raises InvalidRequest, also in a session without `tracks`, or the error that ended the session.
        """
        ids = parse_ended(self.opened, track_ids)
        async with self._sending:
            self._inbox.raise_error()
            self._inbox.check_not_over(finishing=self._feeding.finishing)
            self._book.asked(self._next_id, ids)
            self._feeding.wake()

    async def finish(self) -> None:
        """Say that no more frames will come. Iterate on for the answers that are missing; then the iteration ends."""
        self._feeding.finishing = True
        self._feeding.wake()
        self._room.set()
        self._end_if_done()

    def take(self) -> list[Event_co]:
        """The answers that have come. Never waits, and never raises the error that ended the session."""
        return cast("list[Event_co]", self._inbox.take())  # ends of tracks come where `tracks` were asked for

    def statistics(self) -> LedgerStatistics:
        """What is in the window of the present stream, held, and undelivered now."""
        return self._session.statistics()

    async def close(self) -> None:
        """End the session now and give up what has no answer. Closing twice is harmless."""
        self._end(SessionEnded("the session was closed"))
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._session.close()

    def __aiter__(self) -> ResumingSession[Event_co]:
        return self

    async def __anext__(self) -> Event_co:
        return cast("Event_co", await self._inbox.next())

    @property
    def _owes(self) -> bool:  # an answer, or the end of a track
        return bool(self._frames.unanswered or len(self._book))

    def _check_open(self) -> None:
        self._inbox.raise_error()
        self._inbox.check_open(
            finishing=self._feeding.finishing, open_frames=len(self._frames), window_frames=self.opened.window_frames
        )

    def _take(self, frame: PreparedFrame) -> None:
        """Keep a frame until it is answered. If there is no room, and the policy does not wait, give frames up."""
        self._next_id = frame.frame_id + 1
        self._frames.take(frame)
        while (excess := self._frames.too_many()) is not None:
            drop = self.opened.overload_policy is OverloadPolicy.DROP_OLDEST
            why = LocalAnswer.DROPPED if drop else LocalAnswer.WINDOW_FULL
            self._arrived(local_result(excess.frame_id, why, excess.boxes, self.opened.models))
        self._alarm.by(self._budget.wait_until(frame.captured_s))
        self._feeding.wake()

    async def _run(self) -> None:
        """Use one stream after the other, until all frames are answered or a new stream will not help.

        A stream is fruitless if it had frames to answer and answered none. How many frames are kept does not tell: a
        fast camera fills the window again at once, and an idle one has nothing in it.
        """
        while True:
            given, served = self._feeding.given, self._served
            error = await self._use_stream()
            if error is None or not may_be_resumed(error):
                self._end(error)
                return
            idle = self._feeding.given == given and not (self._frames.unanswered or self._feeding.finishing)
            if idle or self._served > served:
                self._patience.succeeded()
            self._patience.failed(time.monotonic())
            self._between_streams = True
            self._end_if_done()
            if self._served == served:  # also an idle session must not hammer a server that takes no streams
                await asyncio.sleep(self._patience.pause_s())
            if self._patience.left_s(time.monotonic()) <= 0:
                self._end(error)
                return
            try:
                await self._next_stream()
            except ReidError as why:
                self._end(why)
                return
            self._between_streams = False

    async def _use_stream(self) -> ReidError | None:
        """Send and receive on the present stream until it ends. None: the session is finished and all is answered."""
        feeding = asyncio.get_running_loop().create_task(self._feed())
        try:
            async for event in self._session:
                if isinstance(event, TrackEnded):
                    self._served += 1
                    self._inbox.put_end(event)
                else:
                    self._arrived(event)
        except ReidError as why:
            return why
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        if self._feeding.finishing and not self._owes:
            return None
        return SessionEnded("the stream ended with frames unanswered, or tracks open")

    async def _next_stream(self) -> None:
        """Open the next stream and queue all kept frames again, in order. Raises what the opening raises."""
        await self._session.close()
        self._epoch += 1
        session = await self._opener.open(self._epoch, self._book, within_s=self._patience.left_s(time.monotonic()))
        spaces = [model.space_id for model in session.opened.models]
        if spaces != [model.space_id for model in self.opened.models]:
            await session.close()
            raise SpaceMismatch(
                "the next server embeds into another space, so its vectors must not be compared with the earlier ones"
            )
        self._session = session
        self.opened = session.opened
        self._frames.start_over(session.opened)
        self._book.start_over()
        self._feeding.wake()

    async def _feed(self) -> None:
        if (refusal := await self._feeding.into(self._session)) is not None:
            self._end(refusal)

    def _arrived(self, result: FrameEmbeddings) -> None:
        """Deliver an answer when its turn has come. Dropped are a second answer to the same frame, and any after the
        end, which said that there is none.
        """
        if (due := self._frames.answered(result)) is None:
            return
        self._served += not result.local
        self._inbox.put(due)
        self._room.set()
        self._end_if_done()

    def _look(self) -> None:
        """Answer the frames that have waited for too long, wherever they are."""
        now = time.monotonic()
        for frame in self._frames.late(self._budget, now):
            self._arrived(self._budget.over(frame.frame_id, frame.boxes, frame.captured_s, now))
        self._alarm.by(self._frames.next_late_s(self._budget))

    def _end_if_done(self) -> None:
        """While there is no stream: end if there is nothing that another one could answer."""
        if self._between_streams and self._feeding.finishing and not self._owes:
            self._end(None)
            self._task.cancel()

    def _end(self, error: ReidError | None) -> None:
        """End everything because of `error`; None: all is well. The second time, do nothing."""
        if self._inbox.ended:
            return
        if error is not None:
            error.unanswered = self._frames.unanswered
        self._frames.forget()  # the pictures, and with them who else might be answered
        self._inbox.end(error)
        self._alarm.stop()
        self._room.set()
        self._feeding.wake()
