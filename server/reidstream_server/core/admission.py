"""The bounds of the queue: boxes that are not answered yet, and bytes of messages that are not staged yet.

A flow may hold as much as is still free (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
packet switches", 1998, with factor 1). So one greedy camera gets at most half of the queue, and there is always room
for a newcomer. A session may park one frame that does not fit; parked frames wait here, in the order of parking.

Trap: with many greedy flows, the free room can stay smaller than a large frame for ever. So the first parked frame
whose flow holds nothing lets nobody else in until it fits. A flow that holds something makes only its own later frames
wait, of all its sessions.
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
        """Let the frame in if it fits and no parked frame goes first; False if not, with nothing changed."""
        if self.others_first(frame) or not self._fits(frame):
            return False
        self._let_in(frame)
        return True

    def others_first(self, frame: FrameState[P]) -> bool:
        """Whether a parked frame must be let in before this one. The frame's own session has none parked."""
        flow = frame.session.terms.flow
        return any(
            session.terms.flow == flow or not self._flow_boxes[session.terms.flow] for session in self._parking.values()
        )

    def has_place(self, session: SessionState[P]) -> bool:
        """Whether the session has a place among those that wait, even if the frame that it parked was given up."""
        return session.key in self._parking

    def release_bytes(self, frame: FrameState[P]) -> None:
        """The message was staged, or is not needed any more."""
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
        """The session does not wait any more."""
        session.parked = None
        self._parking.pop(session.key, None)

    def next_admitted(self) -> FrameState[P] | None:
        """Let in the first parked frame that may go, and return it; None if none may. One pass: every event asks."""
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
    """Subtract, and forget a flow at zero: there is no end of new camera names."""
    counter[flow] -= amount
    if not counter[flow]:
        del counter[flow]
