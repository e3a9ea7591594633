"""The bounds of the queue: boxes and message bytes that are admitted and not yet done with.

A flow may hold as much as is still free (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
packet switches", 1998, with factor 1): one greedy camera gets half of the queue at most, and there is always room for
a newcomer. A frame that does not fit may be parked by its session, one per session, and waits here in the order of
parking.

Trap: with many greedy flows the free room can stay smaller than a large frame for ever. So the first parked frame
whose flow holds nothing lets nobody else in until it fits; a flow that waits only for its own frames blocks nobody but
its own later ones, of whatever session.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from .state import FrameState, SessionState
from .terms import Flow, SessionKey

P = TypeVar("P")


class Admission(Generic[P]):
    """Accounts for the queue. Not thread-safe."""

    def __init__(self, *, max_boxes: int, max_bytes: int) -> None:
        self._max_boxes = max_boxes
        self._max_bytes = max_bytes
        self._boxes = 0
        self._bytes = 0
        self._flow_boxes: Counter[Flow] = Counter()
        self._flow_bytes: Counter[Flow] = Counter()
        self._parking: OrderedDict[SessionKey, SessionState[P]] = OrderedDict()

    @property
    def boxes(self) -> int:
        """Admitted, not yet answered."""
        return self._boxes

    @property
    def bytes(self) -> int:
        """Of messages admitted and not yet staged."""
        return self._bytes

    @property
    def parked(self) -> int:
        """Frames that wait for room."""
        return len(self._parking)

    def admit(self, frame: FrameState[P]) -> bool:
        """Take the frame's boxes and bytes if they fit and nobody goes first; False leaves everything as it was."""
        if self.others_first(frame) or not self._fits(frame):
            return False
        self._let_in(frame)
        return True

    def others_first(self, frame: FrameState[P]) -> bool:
        """Whether some parked frame must be let in before this one, whose session has no place among those."""
        flow = frame.session.terms.flow
        return any(
            session.terms.flow == flow or not self._flow_boxes[session.terms.flow] for session in self._parking.values()
        )

    def has_place(self, session: SessionState[P]) -> bool:
        """Whether the session is among those that wait, be it that the frame it waited with was given up."""
        return session.key in self._parking

    def release_bytes(self, frame: FrameState[P]) -> None:
        """The message was staged, or is no longer wanted."""
        if frame.holds_queue_bytes:
            frame.holds_queue_bytes = False
            self._bytes -= frame.request.message_bytes
            _lower(self._flow_bytes, frame.session.terms.flow, frame.request.message_bytes)

    def release_boxes(self, frame: FrameState[P]) -> None:
        """The frame's answer is known."""
        if frame.holds_queue_boxes:
            frame.holds_queue_boxes = False
            self._boxes -= frame.boxes
            _lower(self._flow_boxes, frame.session.terms.flow, frame.boxes)

    def park(self, frame: FrameState[P]) -> None:
        """Let the frame wait for room; a session that was waiting keeps its place."""
        frame.session.parked = frame
        self._parking.setdefault(frame.session.key, frame.session)

    def unpark(self, session: SessionState[P]) -> None:
        """The session waits no more."""
        session.parked = None
        self._parking.pop(session.key, None)

    def next_admitted(self) -> FrameState[P] | None:
        """Admit and take out the first parked frame that may go; None when none may. One pass: every event asks."""
        first: FrameState[P] | None = None
        flows: set[Flow] = set()
        for session in self._parking.values():
            frame, flow = session.parked, session.terms.flow
            if frame is None:
                continue
            if not self._flow_boxes[flow]:
                first = frame if self._fits(frame) else None
                break
            if first is None and flow not in flows and self._fits(frame):
                first = frame
            flows.add(flow)
        if first is not None:
            self._let_in(first)
        return first

    def _let_in(self, frame: FrameState[P]) -> None:
        flow = frame.session.terms.flow
        self._boxes += frame.boxes
        self._bytes += frame.request.message_bytes
        self._flow_boxes[flow] += frame.boxes
        self._flow_bytes[flow] += frame.request.message_bytes
        frame.holds_queue_boxes = frame.holds_queue_bytes = True
        self.unpark(frame.session)

    def _fits(self, frame: FrameState[P]) -> bool:
        flow = frame.session.terms.flow
        return (
            self._flow_boxes[flow] + frame.boxes <= self._max_boxes - self._boxes
            and self._flow_bytes[flow] + frame.request.message_bytes <= self._max_bytes - self._bytes
        )


def _lower(counter: Counter[Flow], flow: Flow, amount: int) -> None:
    """Subtract, and forget a flow at zero: camera names come and go for ever."""
    counter[flow] -= amount
    if not counter[flow]:
        del counter[flow]
