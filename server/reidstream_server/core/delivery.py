"""Hands answers out, in the agreed order, and remembers those that the transport has not written yet.

Why: a frame's place in the window is free only when the transport has written its answer. So a client that does not
read stops its own stream and nobody else's. Trap: answers are handed out in `flush` only, after all state has changed,
so that no answer overtakes another one of its session.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from .admission import Admission
from .effects import Answer, Effect, End, EndCause, Readable
from .faults import CropOutcome
from .state import FrameState, SessionState, Unwritten
from .terms import Ordering
from .timers import TimerKind, Timers

P = TypeVar("P")


class Delivery(Generic[P]):
    """Collects the sessions for which something changed, and hands out what they may have. Not thread-safe."""

    def __init__(self, timers: Timers, admission: Admission[P], *, stall_timeout_ns: int) -> None:
        self._timers = timers
        self._admission = admission
        self._stall_timeout_ns = stall_timeout_ns
        self._touched: dict[int, SessionState[P]] = {}

    def touch(self, session: SessionState[P]) -> None:
        """Something changed for this session."""
        self._touched[session.key] = session

    def written(self, session: SessionState[P], now: int) -> None:
        """The transport has written the oldest answer."""
        if not session.unwritten:
            return
        first = session.unwritten.popleft()
        self._admission.answer_written(session, first)
        session.window_frames -= first.window_frames
        session.window_bytes -= first.window_bytes
        session.stalled_since_ns = now
        if not session.unwritten:
            self._timers.cancel(session.stall_timer)
            session.stall_timer = None

    def stalled(self, session: SessionState[P], now: int) -> bool:
        """Whether answers wait and none was written for too long. If not, a timer is set to look again."""
        if not session.unwritten:
            return False
        due = session.stalled_since_ns + self._stall_timeout_ns
        if due <= now:
            return True
        session.stall_timer = self._timers.add(due, TimerKind.STALL, session.key)
        return False

    def flush(self, now: int, effects: list[Effect[P]]) -> list[SessionState[P]]:
        """Hand out every Answer, Readable and End that is due; returns the sessions that are over."""
        over: list[SessionState[P]] = []
        while self._touched:
            _, session = self._touched.popitem()
            if session.gone:
                continue
            for frame in self._due(session):
                self._hand_out(session, frame, now, effects)
            readable = session.readable
            if readable and not session.was_readable:
                effects.append(Readable(session=session.key))
            session.was_readable = readable
            if session.finished:
                cause = EndCause.FINISHED if session.half_closed else EndCause.DRAINED
                effects.append(End(session=session.key, cause=cause))
                over.append(session)
        return over

    def _due(self, session: SessionState[P]) -> list[FrameState[P]]:
        """Remove the frames that may be answered now, and return them in order."""
        due: list[FrameState[P]] = []
        match session.terms.ordering:
            case Ordering.IN_ORDER:
                while session.open_frames:
                    first = next(iter(session.open_frames.values()))
                    if not first.resolved:
                        break
                    session.open_frames.popitem(last=False)
                    due.append(first)
                session.resolved.clear()
            case Ordering.AS_COMPLETED:
                due.extend(session.resolved)
                for frame in due:
                    del session.open_frames[frame.key]
                session.resolved.clear()
        return due

    def _hand_out(self, session: SessionState[P], frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        effects.append(
            Answer(
                session=session.key,
                frame_id=frame.request.frame_id,
                payload=frame.payload,
                fault=frame.fault,
                outcomes=() if frame.fault else tuple(o or CropOutcome.FAILED for o in frame.outcomes),
                times=frame.times(),
            )
        )
        session.unwritten.append(
            Unwritten(
                window_frames=int(frame.holds_window),
                window_bytes=frame.request.message_bytes if frame.holds_window else 0,
                answer_bytes=self._admission.hand_out(frame),
                passed=frame.passed,
            )
        )
        if session.stall_timer is None:
            session.stalled_since_ns = now
            session.stall_timer = self._timers.add(now + self._stall_timeout_ns, TimerKind.STALL, session.key)
