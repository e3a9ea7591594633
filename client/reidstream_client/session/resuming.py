"""A session that outlives its stream: if that is cut or drained, every frame is still answered exactly once.

Why a wrapper: `AsyncSession` says how its stream ended and which frames have no answer. Here those frames are kept, a
new stream is opened with the same session id and the next epoch, and they are sent again. The server may embed a frame
twice, which does no harm. The caller gets one answer, because an answer removes its frame from those that are kept.

Trap: vectors may be compared only within one space, so a server that answers in another space ends the session.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import numpy.typing as npt
from typing_extensions import Unpack

from reidstream_client.choices import Ordering, OverloadPolicy
from reidstream_client.errors import (
    CallTimeout,
    InvalidRequest,
    ReidError,
    ServerFault,
    ServerUnavailable,
    SessionEnded,
    SpaceMismatch,
)
from reidstream_client.frames.doubts import BoxDoubts
from reidstream_client.frames.framing import PreparedFrame, captured_at, prepare
from reidstream_client.frames.images import Image, PixelArray
from reidstream_client.frames.shared_memory import frame_buffer
from reidstream_client.options import FrameInput, FrameOptions, check_options, shows_options
from reidstream_client.types import FrameEmbeddings

from .async_session import AsyncSession
from .inbox import Inbox
from .ledger import LedgerStatistics, LocalAnswer
from .local_answers import local_result
from .opener import Opener
from .opening import SessionInfo

# Ends that a new stream may mend. Others (a refusal, a broken contract) would end the next stream too.
_HEALS = (SessionEnded, ServerUnavailable, ServerFault, CallTimeout)
_MAX_FRUITLESS = 5
_FRUITLESS_PAUSE_S = 0.1


class ResumingSession:
    """An AsyncSession over as many streams as it takes. Made by `AsyncReidClient.resuming_stream()`.

    `send` copies a raw image once, so that it can be sent again. Belongs to one event loop; one task iterates.
    """

    def __init__(self, first: AsyncSession, opener: Opener) -> None:
        self.opened: SessionInfo = first.opened
        self._session = first
        self._opener = opener
        self._epoch = 0
        self._next_id = 0
        self._kept: dict[int, PreparedFrame] = {}  # taken and not answered, ascending
        self._kept_bytes = 0
        self._unsent: deque[int] = deque()  # of these, what the present stream was not given yet
        self._turn: deque[int] = deque()  # taken and not delivered, ascending
        self._early: dict[int, FrameEmbeddings] = {}
        self._served = 0  # answers of servers, over all streams
        self._inbox = Inbox()
        self._doubts = BoxDoubts(upright=first.opened.apply_exif_orientation)
        self._finishing = False
        self._sending = asyncio.Lock()
        self._room, self._outgoing = asyncio.Event(), asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

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
            frame_id = self._next_id if frame.frame_id is None else frame.frame_id
            prepared = prepare(frame, frame_id=frame_id, captured_s=captured_s, doubts=self._doubts)
            frame_id = prepared.frame_id
            if frame_id < self._next_id:
                raise InvalidRequest(
                    f"frame ids must increase within a session: {frame_id} came after {self._next_id - 1}"
                )
            self._session.check_size(prepared)
            while self.opened.overload_policy is OverloadPolicy.WAIT and not self._has_room(prepared):
                self._room.clear()
                await self._room.wait()
                self._check_open()
            self._take(prepared.owned())
            return frame_id

    def frame_buffer(self, height: int, width: int) -> PixelArray:
        """An array (height, width, 3) uint8 for a BGR frame: an ordinary one, since every frame is copied and kept."""
        return frame_buffer(None, height, width)

    async def finish(self) -> None:
        """Say that no more frames will come. Iterate on for the answers that are missing; then the iteration ends."""
        self._finishing = True
        self._outgoing.set()
        self._room.set()

    def take(self) -> list[FrameEmbeddings]:
        """The answers that have come. Never waits, and never raises the error that ended the session."""
        return self._inbox.take()

    def statistics(self) -> LedgerStatistics:
        """What is in the window of the present stream, held, and undelivered now."""
        return self._session.statistics()

    async def close(self) -> None:
        """End the session now and give up what has no answer. Closing twice is harmless."""
        self._end(SessionEnded("the session was closed"))
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._session.close()

    def __aiter__(self) -> ResumingSession:
        return self

    async def __anext__(self) -> FrameEmbeddings:
        return await self._inbox.next()

    def _check_open(self) -> None:
        self._inbox.raise_error()
        self._inbox.check_open(
            finishing=self._finishing, open_frames=len(self._turn), window_frames=self.opened.window_frames
        )

    def _has_room(self, frame: PreparedFrame) -> bool:
        window = self.opened
        fits = self._kept_bytes + frame.max_bytes <= window.window_bytes
        return len(self._kept) < window.window_frames and (fits or not self._kept)

    def _take(self, frame: PreparedFrame) -> None:
        """Keep a frame until it is answered. If there is no room, and the policy does not wait, give one up."""
        self._next_id = frame.frame_id + 1
        self._kept[frame.frame_id] = frame
        self._kept_bytes += frame.max_bytes
        self._unsent.append(frame.frame_id)
        self._turn.append(frame.frame_id)
        if len(self._unsent) > self.opened.window_frames:  # the stream is slow, or away
            drop = self.opened.overload_policy is OverloadPolicy.DROP_OLDEST
            given_up = self._unsent.popleft() if drop else self._unsent.pop()
            why = LocalAnswer.DROPPED if drop else LocalAnswer.WINDOW_FULL
            self._arrived(local_result(given_up, why, self._kept[given_up].boxes, self.opened.models))
        self._outgoing.set()

    async def _run(self) -> None:
        """Use one stream after the other, until all frames are answered or a new stream will not help.

        A stream is fruitless if it had frames to answer and answered none. How many frames are kept does not tell: a
        fast camera fills the window again at once, and an idle one has nothing in it.
        """
        fruitless = 0
        while True:
            before = self._served
            error = await self._use_stream()
            if error is None:
                self._end(None)
                return
            fruitless = fruitless + 1 if self._served == before and self._kept else 0
            if not isinstance(error, _HEALS) or fruitless > _MAX_FRUITLESS:
                self._end(error)
                return
            if self._served == before:
                await asyncio.sleep(
                    _FRUITLESS_PAUSE_S
                )  # an idle session must not hammer a server that takes no streams
            try:
                await self._next_stream()
            except ReidError as why:
                self._end(why)
                return

    async def _use_stream(self) -> ReidError | None:
        """Send and receive on the present stream until it ends. None: the session is finished and all is answered."""
        feeding = asyncio.get_running_loop().create_task(self._feed(self._session))
        try:
            async for result in self._session:
                self._arrived(result)
        except ReidError as why:
            return why
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
        return None if self._finishing and not self._kept else SessionEnded("the stream ended with frames unanswered")

    async def _next_stream(self) -> None:
        """Open the next stream and queue all kept frames again, in order. Raises what the opening raises."""
        await self._session.close()
        self._epoch += 1
        session = await self._opener.open(self._epoch)
        spaces = [model.space_id for model in session.opened.models]
        if spaces != [model.space_id for model in self.opened.models]:
            await session.close()
            raise SpaceMismatch(
                "the next server embeds into another space, so its vectors must not be compared with the earlier ones"
            )
        self._session = session
        self.opened = session.opened
        self._unsent = deque(self._kept)
        self._outgoing.set()

    async def _feed(self, session: AsyncSession) -> None:
        """Give the stream the frames that it was not given yet. Ends with the stream, whose reader learns why."""
        with contextlib.suppress(ReidError):
            while True:
                while self._unsent:
                    frame = self._kept[self._unsent[0]]
                    await session.submit(frame)
                    if self._unsent and self._unsent[0] == frame.frame_id:
                        self._unsent.popleft()
                if self._finishing:
                    await session.finish()
                    return
                self._outgoing.clear()
                await self._outgoing.wait()

    def _arrived(self, result: FrameEmbeddings) -> None:
        """Deliver an answer when its turn has come. A second answer to the same frame is dropped."""
        frame = self._kept.pop(result.frame_id, None)
        if frame is None:
            return
        self._kept_bytes -= frame.max_bytes
        self._served += not result.local
        self._room.set()
        if self.opened.ordering is Ordering.AS_COMPLETED:
            self._turn.remove(result.frame_id)
            self._inbox.put([result])
        else:
            self._early[result.frame_id] = result
            while self._turn and self._turn[0] in self._early:
                self._inbox.put([self._early.pop(self._turn.popleft())])

    def _end(self, error: ReidError | None) -> None:
        """End everything because of `error`; None: all is well. The second time, do nothing."""
        if self._inbox.ended:
            return
        if error is not None:
            error.unanswered = tuple(self._kept)
        self._inbox.end(error)
        self._room.set()
        self._outgoing.set()
