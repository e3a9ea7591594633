"""Answers and ends of tracks that wait for the caller, and what comes after the last one.

Why apart: a session of one stream and one of many give their answers in the same way. Trap: the same error may be
raised many times, so it is raised without its traceback, which would grow each time.

A program that forgets `finish` waits in its iteration for ever. This is no error, since another task or thread may
send or finish later. But where the one that waits has sent all frames itself, and all are answered, the log says it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

from reidstream_client.errors import InvalidRequest, ReidError, UnreadAnswers, WrongPlace
from reidstream_client.types import FrameEmbeddings, SessionEvent, TrackEnded

from .spans import FrameSpans

LOG: Final = logging.getLogger("reidstream_client")

CALLER: ContextVar[object] = ContextVar("CALLER", default=None)
"""Who calls, if it is not the present task: a thread, for which a task of its own runs each call."""

SILENCE_S: Final = 5.0
"""How long an iteration waits for what nobody seems to send, before the log says so."""

_SEVERAL: Final = 2

MAX_UNREAD = 4096
"""Answers that may wait to be taken, beside the window, before `send` says so."""


class Inbox:
    """One event loop; one task waits in `next`. Raises WrongPlace in another loop, where nobody would be woken.

    `spans`: those of frames, which end with their answers.
    """

    def __init__(self, spans: FrameSpans) -> None:
        self._loop = asyncio.get_running_loop()
        self._spans = spans
        self.error: ReidError | None = None
        self.ended = False
        self._events: deque[SessionEvent] = deque()
        self._changed = asyncio.Event()
        self._owed = 0
        self._senders: set[object] = set()
        self._reminded = False

    def put(self, answers: Sequence[FrameEmbeddings]) -> None:
        """More answers, if there are any."""
        if answers:
            self._spans.answered(answers)
            self._events.extend(answers)
            self._owed -= len(answers)
            self._changed.set()

    def put_end(self, event: TrackEnded) -> None:
        """A track is over. It comes behind the answers that are here."""
        self._events.append(event)
        self._changed.set()

    def end(self, error: ReidError | None) -> None:
        """No more answers will come; `error` says why, None that all is well."""
        self.error = error
        self.ended = True
        self._spans.end(error)
        self._changed.set()

    def take(self) -> list[SessionEvent]:
        """What is here."""
        events = list(self._events)
        self._events.clear()
        return events

    async def next(self) -> SessionEvent:
        """The next answer, or end of a track; raises the error that ended the session, or StopAsyncIteration."""
        self._check_loop()
        while not self._events:
            if self.ended:
                self.raise_error()
                raise StopAsyncIteration
            self._changed.clear()
            if self._owed > 0 or self._reminded or self._senders != {_caller()}:
                await self._changed.wait()
                continue
            reminder = self._loop.call_later(SILENCE_S, self._remind)
            try:
                await self._changed.wait()
            finally:
                reminder.cancel()
        return self._events.popleft()

    def raise_error(self) -> None:
        """Raises the error that ended the session, if one did."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def check_open(self, *, finishing: bool, open_frames: int, window_frames: int) -> None:
        """Whether another frame may be sent. Raises InvalidRequest after `finish` or the end, UnreadAnswers."""
        self.check_not_over(finishing=finishing)
        if len(self._senders) < _SEVERAL:
            self._senders.add(_caller())
        self._owed = open_frames + 1
        if open_frames + len(self._events) >= MAX_UNREAD + window_frames:
            raise UnreadAnswers(f"{len(self._events)} answers wait to be taken; iterate over the session while sending")

    def check_not_over(self, *, finishing: bool) -> None:
        """Whether something may still be said. Raises InvalidRequest after `finish` or the end."""
        self._check_loop()
        if finishing or self.ended:
            raise InvalidRequest("this session was finished; open another one to send more")

    def _remind(self) -> None:
        self._reminded = True
        LOG.warning(
            "an iteration over a session waits, and all its frames were answered %g s ago: if you send no more, call "
            "finish() before you iterate, and the iteration ends after the last answer",
            SILENCE_S,
        )

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongPlace("a session belongs to the event loop that opened it, and this is another one")


def _caller() -> object:
    return CALLER.get() or asyncio.current_task()
