"""Simulated cameras: they capture, keep to their window or not, read answers fast, slowly or never, and vanish.

Trap: a client knows nothing of the books; it acts on what reaches it over its simulated stream, as a real one does.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeAlias

from reidstream_server.core.effects import Answer, End, SendDrain

from .books import ClientBook, FrameBook
from .plan import FramePlan
from .timeline import Timeline

Mail: TypeAlias = Answer[FrameBook] | SendDrain | End


class Shell(Protocol):
    """What a client's stream leads to."""

    def open(self, client: Client) -> None:
        """The stream was opened."""
        ...

    def read(self, client: Client) -> None:
        """There may be something to read."""
        ...

    def taken(self, client: Client, item: Mail) -> None:
        """The client took what was written first."""
        ...

    def vanish(self, client: Client) -> None:
        """The client is gone."""
        ...


class Client:
    """One camera. `inbox` is on its way to the server (None: half-close), `mail` on its way back."""

    def __init__(self, book: ClientBook, shell: Shell, timeline: Timeline) -> None:
        self.book = book
        self.inbox: deque[FramePlan | None] = deque()
        self.mail: deque[Mail] = deque()
        self.reading = False
        self.gone = False
        self._shell = shell
        self._timeline = timeline
        self._captured = 0
        self._unsent: deque[FramePlan] = deque()
        self._unanswered: list[FramePlan] = []
        self._unanswered_bytes = 0
        self._taking = False
        self._answers = 0
        self._closed = False

    def start(self) -> None:
        """Open the stream when it is time."""
        plan = self.book.plan
        self._timeline.at(plan.opens_ns, self._open)
        if plan.vanishes_ns is not None:
            self._timeline.at(plan.vanishes_ns, self.vanish)

    def deliver(self, item: Mail) -> None:
        """The server wrote something."""
        self.mail.append(item)
        self._take()

    def vanish(self) -> None:
        """Break the connection, without a word."""
        if not self.gone and self.book.known:
            self.gone = True
            self._shell.vanish(self)

    def _open(self) -> None:
        self._shell.open(self)
        if self.book.key is not None:
            self._capture()

    def _capture(self) -> None:
        if self.gone or self._closed:
            return
        plan = self.book.plan
        while self._captured < len(plan.frames):
            self._unsent.append(plan.frames[self._captured])
            self._captured += 1
            if plan.interval_ns:
                self._timeline.at(self._timeline.now + plan.interval_ns, self._capture)
                break
        self._send()

    def _send(self) -> None:
        window = self.book.plan.terms.window
        while self._unsent and not self._closed:
            full = len(self._unanswered) >= window.frames or self._unanswered_bytes >= window.bytes
            if full and not self.book.plan.floods:
                break
            frame = self._unsent.popleft()
            self._unanswered.append(frame)
            self._unanswered_bytes += frame.message_bytes
            self.inbox.append(frame)
        if self._captured == len(self.book.plan.frames) and not self._unsent:
            self._close()
        self._shell.read(self)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.inbox.append(None)

    def _take(self) -> None:
        """Begin to take what was written first."""
        plan = self.book.plan
        stalled = plan.stalls_after is not None and self._answers >= plan.stalls_after
        if not self._taking and self.mail and not stalled and not self.gone:
            self._taking = True
            self._timeline.at(self._timeline.now + plan.read_ns, self._took)

    def _took(self) -> None:
        self._taking = False
        if self.gone:
            return
        item = self.mail.popleft()
        match item:
            case Answer():
                self._answers += 1
                answered = next(frame for frame in self._unanswered if frame.frame_id == item.frame_id)
                self._unanswered.remove(answered)
                self._unanswered_bytes -= answered.message_bytes
            case SendDrain():
                if self.book.plan.leaves_on_drain:
                    self._close()
            case End():
                self.gone = True
        self._shell.taken(self, item)
        if not self.gone:
            self._send()
            self._take()
