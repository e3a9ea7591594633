"""Which frames of a session are where: window, order, local answers, drain. Pure: no clock, no sockets, no asyncio.

Why apart: full windows, answers out of order and a leaving server are decided here, and can be tested by the thousand.
A frame is taken if `offer` says anything but WAIT. Each one that is taken leaves exactly once: through `deliverable`,
or as one of the ids that `close` returns. Traps: a frame that the client drops must still be answered in its turn; and
a frame that was sent and then given up is *owed*: it keeps its place in the window, because the server still has it,
and the answer that comes late is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Generic, TypeVar

from reidstream_client.choices import Ordering, OverloadPolicy
from reidstream_client.errors import FrameTooLarge, InvalidRequest, ProtocolFault

F = TypeVar("F")  # what is sent
R = TypeVar("R")  # what comes back


class Offer(Enum):
    """What became of a frame that was offered.

    SEND: it is in the window, write it now. HELD: it goes out when the window has room (`release`). ANSWERED: its
    answer is already deliverable in its turn. WAIT: it was not taken; offer it again when the window has room.
    """

    SEND = "send"
    HELD = "held"
    ANSWERED = "answered"
    WAIT = "wait"


class LocalAnswer(Enum):
    """Why the client answers a frame itself."""

    DROPPED = "dropped"
    WINDOW_FULL = "window_full"


@dataclass(slots=True, kw_only=True)
class _Entry(Generic[F, R]):
    """A frame that was taken. Held while it has `frame`, answered once it has `answer`, in the window between."""

    size: int
    frame: F | None
    answer: R | LocalAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Generic[R]):
    """An answer whose turn it is."""

    frame_id: int
    answer: R | LocalAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatistics:
    """`window_frames`, `window_bytes`: sent, and not answered by the server. `undelivered`: answered, waiting for their
    turn.
    """

    window_frames: int
    window_bytes: int
    held: int
    undelivered: int


class FrameLedger(Generic[F, R]):
    """See the module. Not thread-safe. `max_frames`, `max_bytes`: the agreed window."""

    def __init__(self, *, max_frames: int, max_bytes: int, ordering: Ordering, policy: OverloadPolicy) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._ordering = ordering
        self._policy = policy
        self._entries: dict[int, _Entry[F, R]] = {}  # taken and not delivered, in the order of their ids
        self._completed: deque[int] = deque()  # AS_COMPLETED: in the order of their answers
        self._held: int | None = None
        self._frames = 0
        self._bytes = 0
        self._next_id = 0
        self._elsewhere: list[int] = []
        self._owed: dict[int, int] = {}  # sent and given up: the sizes of frames that the server has not answered yet

    @property
    def next_id(self) -> int:
        """The id of the next frame, where the caller chooses none."""
        return self._next_id

    @property
    def holds(self) -> bool:
        """A frame waits for room in the window."""
        return self._held is not None

    def holds_before(self, frame_id: int) -> bool:
        """A frame waits for room, and its id is lower than this one."""
        return self._held is not None and self._held < frame_id

    @property
    def owed(self) -> bool:
        """The server has not answered a frame that was given up."""
        return bool(self._owed)

    @property
    def all_answered(self) -> bool:
        """Every frame that was taken has an answer, and was delivered."""
        return not self._entries and not self._elsewhere

    def waits(self, frame_id: int) -> bool:
        """The frame was taken and has no answer."""
        entry = self._entries.get(frame_id)
        return entry is not None and entry.answer is None

    def statistics(self) -> LedgerStatistics:
        """For tests and figures."""
        return LedgerStatistics(
            window_frames=self._frames,
            window_bytes=self._bytes,
            held=int(self._held is not None),
            undelivered=sum(entry.answer is not None for entry in self._entries.values()),
        )

    def check_id(self, frame_id: int) -> None:
        """Raises InvalidRequest for an id that does not increase."""
        if frame_id < self._next_id:
            raise InvalidRequest(f"frame ids must increase within a session: {frame_id} came after {self._next_id - 1}")

    def check_size(self, size: int) -> None:
        """Raises FrameTooLarge for a frame over the whole window."""
        if size > self._max_bytes:
            raise FrameTooLarge(
                f"the frame's message has {size} bytes, and the session's window {self._max_bytes}; "
                "send it encoded, or open the session with a larger window_bytes"
            )

    def would_hold(self, size: int) -> bool:
        """Whether `offer` would keep the frame for later, so that it must own its memory."""
        return self._policy is OverloadPolicy.DROP_OLDEST and not self._has_room(size)

    def offer(self, frame_id: int, size: int, frame: F) -> Offer:
        """Take a frame that passed both checks. `size`: bytes of its message, at least."""
        if self._held is None and self._has_room(size):
            return self._send(frame_id, size)
        match self._policy:
            case OverloadPolicy.WAIT:
                return Offer.WAIT
            case OverloadPolicy.REJECT:
                self._settle(frame_id, self._take(frame_id, size, None), LocalAnswer.WINDOW_FULL)
                return Offer.ANSWERED
            case OverloadPolicy.DROP_OLDEST:
                if self._held is not None:
                    self._settle(self._held, self._entries[self._held], LocalAnswer.DROPPED)
                    self._held = None
                if self._has_room(size):
                    return self._send(frame_id, size)
                self._take(frame_id, size, frame)
                self._held = frame_id
                return Offer.HELD

    def refuse(self, frame_id: int, answer: R) -> None:
        """Take a frame that passed both checks, and answer it at once."""
        self._settle(frame_id, self._take(frame_id, 0, None), answer)

    def give_up(self, frame_id: int, answer: R, *, sent: bool) -> None:
        """Answer a frame that waits for an answer. `sent`: the server may have it."""
        entry = self._entries[frame_id]
        if frame_id == self._held:
            self._held = None
        elif sent:
            self._owed[frame_id] = entry.size
        else:
            self._leave_window(entry.size)
        self._settle(frame_id, entry, answer)

    def drop_late(self, frame_id: int) -> bool:
        """The server has answered a frame that was given up: its place is free. False: the frame was not given up."""
        size = self._owed.pop(frame_id, None)
        if size is None:
            return False
        self._leave_window(size)
        return True

    def release(self) -> F | None:
        """The held frame, if the window has room for it now: write it."""
        if self._held is None:
            return None
        entry = self._entries[self._held]
        if not self._has_room(entry.size):
            return None
        self._held = None
        self._frames += 1
        self._bytes += entry.size
        frame, entry.frame = entry.frame, None
        return frame

    def answered(self, frame_id: int, answer: R) -> None:
        """The server's answer. Raises ProtocolFault for a frame that does not wait for one."""
        entry = self._entries.get(frame_id)
        if entry is None or entry.answer is not None or frame_id == self._held:
            raise ProtocolFault(f"the server answered frame {frame_id}, which does not wait for an answer")
        self._leave_window(entry.size)
        self._settle(frame_id, entry, answer)

    def deliverable(self) -> list[Delivery[R]]:
        """Answers whose turn has come; each is returned once."""
        match self._ordering:
            case Ordering.AS_COMPLETED:
                return self._deliver_completed()
            case Ordering.IN_ORDER:
                return self._deliver(takewhile(lambda i: self._entries[i].answer is not None, tuple(self._entries)))

    def drain(self, last_accepted: int | None) -> list[int]:
        """The server answers no frame above `last_accepted` (None: no frame). Their ids, which `close` repeats."""
        last = -1 if last_accepted is None else last_accepted
        gone = [i for i, entry in self._entries.items() if i > last and entry.answer is None]
        for frame_id in gone:
            entry = self._entries.pop(frame_id)
            if frame_id == self._held:
                self._held = None
            else:
                self._leave_window(entry.size)
        self._elsewhere.extend(gone)
        return gone

    def close(self) -> tuple[list[Delivery[R]], tuple[int, ...]]:
        """No more answers will come. Returns the last deliveries, and the ids without an answer, ascending."""
        answered = [i for i, entry in self._entries.items() if entry.answer is not None]
        last = self._deliver(self._completed or answered)
        unanswered = tuple(sorted([*self._elsewhere, *self._entries]))
        self._entries.clear()
        self._elsewhere.clear()
        self._completed.clear()
        self._owed.clear()
        self._held = None
        self._frames = self._bytes = 0
        return last, unanswered

    def _has_room(self, size: int) -> bool:
        return self._frames < self._max_frames and self._bytes + size <= self._max_bytes

    def _send(self, frame_id: int, size: int) -> Offer:
        self._take(frame_id, size, None)
        self._frames += 1
        self._bytes += size
        return Offer.SEND

    def _take(self, frame_id: int, size: int, frame: F | None) -> _Entry[F, R]:
        entry: _Entry[F, R] = _Entry(size=size, frame=frame)
        self._entries[frame_id] = entry
        self._next_id = frame_id + 1
        return entry

    def _leave_window(self, size: int) -> None:
        self._frames -= 1
        self._bytes -= size

    def _settle(self, frame_id: int, entry: _Entry[F, R], answer: R | LocalAnswer) -> None:
        entry.frame, entry.answer = None, answer
        if self._ordering is Ordering.AS_COMPLETED:
            self._completed.append(frame_id)

    def _deliver_completed(self) -> list[Delivery[R]]:
        delivered = self._deliver(self._completed)
        self._completed.clear()
        return delivered

    def _deliver(self, ids: Iterable[int]) -> list[Delivery[R]]:
        popped = ((frame_id, self._entries.pop(frame_id).answer) for frame_id in ids)
        return [Delivery(frame_id=frame_id, answer=answer) for frame_id, answer in popped if answer is not None]
