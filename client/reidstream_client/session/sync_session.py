"""A session for programs without asyncio: `AsyncSession`, called from other threads.

Trap: changing threads costs more than parsing an answer, so an iteration takes all answers that have come at once.
The loop's thread puts them into `_taken`, so that giving up waiting (Ctrl-C) loses none. Another thread may take them
before the one that waited looks, so only the session itself can say that it is over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

import numpy.typing as npt
from typing_extensions import Unpack, override

from reidstream_client.frames.images import Image, PixelArray
from reidstream_client.loop_thread import LoopThread
from reidstream_client.options import FrameInput, FrameOptions, check_options, shows_options
from reidstream_client.process import not_picklable
from reidstream_client.types import Event_co

from .async_session import AsyncSession
from .inbox import CALLER
from .ledger import LedgerStatistics
from .opening import SessionInfo
from .resuming import ResumingSession

T = TypeVar("T")


class Session(Generic[Event_co]):
    """One camera's session, open. Made by `ReidClient.stream` and `ReidClient.resuming_stream`.

    Iteration gives the answer to every frame that `send` took exactly once, in the agreed order; with `tracks`, also
    the end of each track, once. It waits for more until `finish` was called and all is answered. Then it ends, or
    raises the error that ended the session, which has the ids without an answer.

    One thread may send, or `take`, while another one iterates; each answer goes to one of them.
    """

    def __init__(self, session: AsyncSession[Event_co] | ResumingSession[Event_co], thread: LoopThread) -> None:
        self._session = session
        self._thread = thread
        self._taken: deque[Event_co] = deque()

    @property
    def opened(self) -> SessionInfo:
        """What was agreed."""
        return self._session.opened

    @property
    def epoch(self) -> int:
        """How often the session was resumed; always 0 for one that `ReidClient.stream` made."""
        return self._session.epoch if isinstance(self._session, ResumingSession) else 0

    @shows_options(FrameOptions, FrameInput)
    def send(self, image: Image, boxes: npt.ArrayLike | None = None, **options: Unpack[FrameOptions]) -> int:
        """Hand a frame over and return its id. You may reuse the image at once.

        `image`, `boxes`: as `ReidClient.embed` takes them. While the window is full, the policy WAIT waits here, and
        the frame ages; the other policies never wait.

        Raises InvalidRequest, FrameTooLarge or UnreadAnswers, which leave the session as it was, or the error that
        ended the session. If this raises, the frame was not taken.
        """
        check_options(FrameOptions, options, "send")
        return self.send_frame(FrameInput(image=image, boxes=boxes, **options))

    def send_frame(self, frame: FrameInput) -> int:
        """Hand a frame over and return its id: `send` with the frame and its options in one object. Same errors."""
        return self._call(self._session.send_frame(frame))

    def frame_buffer(self, height: int, width: int) -> PixelArray:
        """An array (height, width, 3) uint8. Fill it with a BGR frame and `send` it: its pixels are not copied.

        A sent array belongs to the session; take another one for the next frame. Without shared memory, or when all of
        it is in use, this is an ordinary array.
        """
        return self._thread.call(self._frame_buffer(height, width))

    def end_tracks(self, track_ids: Iterable[int]) -> None:
        """Say that these tracks are over, after the frames that were sent until now. Each that is open comes as
        TrackEnded behind the answer to its last frame; others are ignored. The same id in a later frame is a new track.

        Raises InvalidRequest, also in a session without `tracks`, or the error that ended the session.
        """
        self._thread.call(self._session.end_tracks(track_ids))

    def finish(self) -> None:
        """Say that no more frames will come. Iterate on for the answers that are missing; then the iteration ends.

        Without it the iteration waits for answers to frames that may still be sent.
        """
        self._thread.call(self._session.finish())

    def take(self) -> list[Event_co]:
        """The answers that have come. Never waits, and never raises the error that ended the session."""
        self._thread.call(self._take())
        taken: list[Event_co] = []
        with suppress(IndexError):
            while True:
                taken.append(self._taken.popleft())
        return taken

    def statistics(self) -> LedgerStatistics:
        """What is in the window, held, and undelivered now."""
        return self._thread.call(self._statistics())

    __reduce__ = not_picklable

    @override
    def __repr__(self) -> str:
        opened = self.opened
        models = ", ".join(model.name for model in opened.models)
        return f"<Session {opened.session_id.hex()[:8]}, epoch {self.epoch}, models {models}>"

    def __iter__(self) -> Iterator[Event_co]:
        return self

    def __next__(self) -> Event_co:
        more = True
        while more:
            if not self._taken:
                more = self._call(self._next())
            with suppress(IndexError):
                return self._taken.popleft()
        raise StopIteration

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """As `LoopThread.call`, of this thread: one that sends and iterates is told if it waits in vain."""
        token = CALLER.set(threading.get_ident())
        try:
            return self._thread.call(coroutine)
        finally:
            CALLER.reset(token)

    async def _take(self) -> None:
        self._taken.extend(self._session.take())

    async def _frame_buffer(self, height: int, width: int) -> PixelArray:
        return self._session.frame_buffer(height, width)

    async def _statistics(self) -> LedgerStatistics:
        return self._session.statistics()

    async def _next(self) -> bool:
        """Take all answers that have come, or wait for one. False: the session is over, and there is none."""
        async for answer in self._session:
            self._taken.append(answer)
            self._taken.extend(self._session.take())
            return True
        return False
