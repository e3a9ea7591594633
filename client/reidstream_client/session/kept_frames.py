"""The frames that a session keeps so that it can send them again, and the order in which it gives their answers.

Pure: no clock, no sockets, no asyncio. Trap: pictures are large, so a frame is forgotten the moment it has an answer,
also where that answer waits for its turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_client.choices import Ordering, OverloadPolicy
from reidstream_client.frames.framing import PreparedFrame
from reidstream_client.types import FrameEmbeddings

from .local_answers import Budget
from .opening import SessionInfo


class KeptFrames:
    """One event loop. `opened`: what was agreed for the present stream."""

    def __init__(self, opened: SessionInfo) -> None:
        self.opened = opened
        self._kept: dict[int, PreparedFrame] = {}  # taken and not answered, ascending
        self._bytes = 0
        self._unsent: dict[int, None] = {}  # of these, what the present stream was not given yet
        self._unsent_bytes = 0
        self._turn: dict[int, None] = {}  # taken and not delivered, ascending
        self._early: dict[int, FrameEmbeddings] = {}  # answered, and waiting for their turn

    def __len__(self) -> int:
        return len(self._turn)

    def forget(self) -> None:
        """Nobody will be answered any more."""
        for known in (self._kept, self._unsent, self._turn, self._early):
            known.clear()
        self._bytes = self._unsent_bytes = 0

    @property
    def unanswered(self) -> tuple[int, ...]:
        """The ids of the frames that are kept."""
        return tuple(self._kept)

    def has_room(self, frame: PreparedFrame) -> bool:
        """Whether a window of frames, or of bytes, is kept already."""
        fits = self._bytes + frame.max_bytes <= self.opened.window_bytes
        return len(self._kept) < self.opened.window_frames and (fits or not self._kept)

    def take(self, frame: PreparedFrame) -> None:
        """Keep a frame until it is answered."""
        self._kept[frame.frame_id] = frame
        self._bytes += frame.max_bytes
        self._unsent[frame.frame_id] = None
        self._unsent_bytes += frame.max_bytes
        self._turn[frame.frame_id] = None

    def too_many(self) -> PreparedFrame | None:
        """The frame that the policy gives up, if the stream is slow or away and a window of frames waits for it."""
        fits = len(self._unsent) <= self.opened.window_frames and self._unsent_bytes <= self.opened.window_bytes
        if fits or len(self._unsent) == 1:
            return None
        oldest = self.opened.overload_policy is OverloadPolicy.DROP_OLDEST
        return self._kept[next(iter(self._unsent) if oldest else reversed(self._unsent))]

    def next_unsent(self) -> PreparedFrame | None:
        """The frame that the present stream is to be given next."""
        return self._kept[next(iter(self._unsent))] if self._unsent else None

    def sent(self, frame: PreparedFrame) -> None:
        """The present stream has it. Harmless where it was answered meanwhile."""
        if frame.frame_id in self._unsent:
            del self._unsent[frame.frame_id]
            self._unsent_bytes -= frame.max_bytes

    def start_over(self, opened: SessionInfo) -> None:
        """There is a new stream, to which every frame must go, in order."""
        self.opened = opened
        self._unsent = dict.fromkeys(self._kept)
        self._unsent_bytes = self._bytes

    def answered(self, result: FrameEmbeddings) -> Sequence[FrameEmbeddings] | None:
        """Forget the frame. Returns the answers whose turn has come; None for a second answer to the same frame."""
        frame = self._kept.pop(result.frame_id, None)
        if frame is None:
            return None
        self._bytes -= frame.max_bytes
        self.sent(frame)
        if self.opened.ordering is Ordering.AS_COMPLETED:
            del self._turn[result.frame_id]
            return [result]
        self._early[result.frame_id] = result
        due = []
        while self._turn and (first := next(iter(self._turn))) in self._early:
            del self._turn[first]
            due.append(self._early.pop(first))
        return due

    def late(self, budget: Budget, now_s: float) -> list[PreparedFrame]:
        """The frames that have waited for too long."""
        return [frame for frame in self._kept.values() if _before(budget.wait_until(frame.captured_s), now_s)]

    def next_late_s(self, budget: Budget) -> float | None:
        """When the next frame has waited for too long; None: there is none."""
        waiting = (budget.wait_until(frame.captured_s) for frame in self._kept.values())
        return min((until for until in waiting if until is not None), default=None)


def _before(until_s: float | None, now_s: float) -> bool:
    return until_s is not None and until_s <= now_s
