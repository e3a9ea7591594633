"""The frames of one stream that were taken and are not done: where each one is, and what becomes of it.

Why apart from the session: nothing here waits, writes or reads. Trap: a frame that was given up after it was sent is
still the server's. Its place in the window and its slot of shared memory are free only when the server has answered it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reidstream_client.choices import Ordering
from reidstream_client.errors import ProtocolFault
from reidstream_client.frames.framing import PreparedFrame
from reidstream_client.frames.results import parse_result
from reidstream_client.frames.shared_memory import SharedMemory
from reidstream_client.frames.track_ends import parse_track_ended
from reidstream_client.frames.tracked_boxes import TrackedBox
from reidstream_client.types import FrameEmbeddings, TrackEnded
from reidstream_proto.v1 import frame_pb2, session_pb2

from .ledger import FrameLedger, LocalAnswer, Offer
from .local_answers import Budget, local_result
from .opening import SessionInfo
from .track_book import TrackBook


@dataclass(slots=True, kw_only=True)
class _Open:
    """A frame: its boxes, those with a track, its slot of shared memory, when it was taken, and since when it is in the
    window.
    """

    boxes: int
    tracked: tuple[TrackedBox, ...]
    slot: int | None
    captured_s: float
    sent_s: float | None = None


class Leftover(NamedTuple):
    """What there is when a stream ends: the last answers, the ids of frames that have none, and how many tracks the
    server has told of and not ended.
    """

    answers: Sequence[FrameEmbeddings]
    unanswered: tuple[int, ...]
    open_tracks: int


class OpenFrames:
    """One event loop. `take_back(frame_id)`: whether a frame that was posted could be kept from being written.

    `ordering`: in which order answers come out, here. `book`: is told what the server has made of tracks, if
    another server may go on with them.
    """

    def __init__(
        self,
        opened: SessionInfo,
        *,
        ordering: Ordering,
        budget: Budget,
        take_back: Callable[[int], bool],
        shared: SharedMemory | None,
        book: TrackBook | None = None,
    ) -> None:
        self._models = opened.models
        self._goes_on = book is not None
        self._book = None if opened.tracks is None else TrackBook() if book is None else book
        self._budget = budget
        self._take_back = take_back
        self._shared = shared
        self._open: dict[int, _Open] = {}
        self.ledger: FrameLedger[PreparedFrame, FrameEmbeddings] = FrameLedger(
            max_frames=opened.window_frames,
            max_bytes=opened.window_bytes,
            ordering=ordering,
            policy=opened.overload_policy,
        )

    def __len__(self) -> int:
        return len(self._open)

    @property
    def owes_late_answers_only(self) -> bool:
        """All that the server has not sent is too late. With tracks, their ends are still to come."""
        return self._book is None and self.ledger.owed and self.ledger.all_answered

    def offer(self, frame: PreparedFrame, now_s: float) -> Offer:
        """As the ledger's. A frame that is over its budget is answered here: it is taken, and never sent."""
        until = self._budget.send_until(frame.captured_s)
        if until is not None and until < now_s:
            self.ledger.refuse(frame.frame_id, self._budget.over(frame.frame_id, frame.boxes, frame.captured_s, now_s))
            return Offer.ANSWERED
        if self.ledger.would_hold(frame.max_bytes):
            frame = frame.owned()
        return self.ledger.offer(frame.frame_id, frame.max_bytes, frame)

    def taken(self, frame: PreparedFrame, slot: int | None) -> None:
        """`offer` took the frame."""
        self._open[frame.frame_id] = _Open(
            boxes=frame.boxes, tracked=frame.tracked, slot=slot, captured_s=frame.captured_s
        )

    def posted(self, frame_id: int, now_s: float) -> None:
        """A frame of the window is on its way."""
        self._open[frame_id].sent_s = now_s

    def answered(self, message: frame_pb2.FrameResult, now_s: float) -> None:
        """The server's answer; dropped if the client was faster. Raises ProtocolFault."""
        frame = self._open.get(message.frame_id)
        if frame is None or frame.sent_s is None:
            raise ProtocolFault(f"the server answered frame {message.frame_id}, which does not wait for an answer")
        if not self.ledger.drop_late(message.frame_id):
            round_trip_s = now_s - frame.sent_s
            result = parse_result(message, boxes=frame.boxes, models=self._models, round_trip_s=round_trip_s)
            self.ledger.answered(message.frame_id, result)
        if self._book is not None and self._goes_on:
            self._book.answered(message, frame.tracked, frame.captured_s, self._models)
        del self._open[message.frame_id]
        self.give_back(frame.slot)

    def give_up_late(self, now_s: float) -> None:
        """Answer every frame that has waited for too long."""
        for frame_id, frame in tuple(self._open.items()):
            until = self._budget.wait_until(frame.captured_s)
            if until is None or now_s < until or not self.ledger.waits(frame_id):
                continue
            sent = frame.sent_s is not None and not self._take_back(frame_id)
            answer = self._budget.over(frame_id, frame.boxes, frame.captured_s, now_s)
            self.ledger.give_up(frame_id, answer, sent=sent)
            if not sent:
                del self._open[frame_id]
                self.give_back(frame.slot)

    def next_late_s(self) -> float | None:
        """When the next frame has waited for too long; None: there is none."""
        waiting = (
            self._budget.wait_until(frame.captured_s)
            for frame_id, frame in self._open.items()
            if self.ledger.waits(frame_id)
        )
        return min((until for until in waiting if until is not None), default=None)

    def asked_since_s(self) -> float | None:
        """Since when the server owes an answer; None: it owes none."""
        return next((frame.sent_s for frame in self._open.values() if frame.sent_s is not None), None)

    def delivered(self) -> list[FrameEmbeddings]:
        """The answers whose turn has come, each once."""
        return [self._result(delivery.frame_id, delivery.answer) for delivery in self.ledger.deliverable()]

    def track_ended(self, message: session_pb2.TrackEnded) -> TrackEnded:
        """The server's end of a track. Raises ProtocolFault."""
        ended = parse_track_ended(message, self._models)
        if self._book is not None:
            self._book.ended(ended)
        return ended

    def drain(self, drain: session_pb2.Drain, now_s: float) -> None:
        """The server will answer no frame above the last one that it accepted."""
        last_accepted = drain.last_accepted_frame_id if drain.HasField("last_accepted_frame_id") else None
        last = -1 if last_accepted is None else last_accepted
        if self._book is not None:
            self._book.drained(drain.open_tracks, now_s)
        for frame_id in self.ledger.drain(last_accepted):
            del self._open[frame_id]
        for frame_id in [i for i in self._open if i > last and self.ledger.drop_late(i)]:
            del self._open[frame_id]

    def close(self) -> Leftover:
        """No more answers will come."""
        last, unanswered = self.ledger.close()
        answers = [self._result(delivery.frame_id, delivery.answer) for delivery in last]
        self._open.clear()
        return Leftover(answers, unanswered, 0 if self._book is None else len(self._book))

    def give_back(self, slot: int | None) -> None:
        """Nobody uses this slot of shared memory any more."""
        if self._shared is not None:
            self._shared.give_back(slot)

    def _result(self, frame_id: int, answer: FrameEmbeddings | LocalAnswer) -> FrameEmbeddings:
        frame = self._open.get(frame_id)
        if frame is not None and frame.sent_s is None:  # else the server's answer frees its slot, or did
            del self._open[frame_id]
            self.give_back(frame.slot)
        if isinstance(answer, FrameEmbeddings):
            return answer
        return local_result(frame_id, answer, 0 if frame is None else frame.boxes, self._models)
