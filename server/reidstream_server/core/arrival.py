"""What happens to a frame that has just come: answered at once, admitted, parked, dropped or rejected.

The window is looked at first (the session's own bound), then the queue (everybody's). Trap: under DROP_OLDEST the
frame that has just come may itself be the oldest that has not started; then it is the one that is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, assert_never

from .batcher import Batcher
from .effects import Effect
from .faults import FaultReason, FrameFault
from .ledger import Ledger
from .state import FrameState
from .statistics import ServiceRate
from .terms import OverloadPolicy, SchedulerLimits
from .timers import TimerKind, Timers

P = TypeVar("P")


class Arrivals(Generic[P]):
    """Applies the overload policies. Not thread-safe."""

    def __init__(
        self,
        limits: SchedulerLimits,
        batchers: Sequence[Batcher[P]],
        ledger: Ledger[P],
        timers: Timers,
        rate: ServiceRate,
    ) -> None:
        self._limits = limits
        self._batchers = batchers
        self._ledger = ledger
        self._timers = timers
        self._rate = rate

    def decide(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """Give a new frame its place, or its answer."""
        session, request = frame.session, frame.request
        fault = self.id_fault(frame) or self._lost_fault(frame) or self._budget_fault(frame, now)
        if fault is not None or not request.crops:
            self._ledger.resolve(frame, fault, effects)
            return
        frame.holds_window = True
        session.window_frames += 1
        session.window_bytes += request.message_bytes
        self._keep_window(frame, effects)
        if frame.resolved:
            self._ledger.admission.unpark(session)
            return
        admission = self._ledger.admission
        if session.parked is None and admission.has_place(session):
            admission.park(frame)  # where the one was that its window has cost; it is let in as soon as it can be
        elif session.parked is None and admission.admit(frame):
            self._ledger.queue(frame, now)
        else:
            self._overflow(frame, now, effects)

    def id_fault(self, frame: FrameState[P]) -> FrameFault | None:
        """Frame ids must rise; a frame that keeps the rule becomes the last one."""
        last, given = frame.session.last_frame_id, frame.request.frame_id
        if last is not None and given <= last:
            message = f"frame_id {given} is not greater than {last}, the last one of this session"
            return FrameFault(reason=FaultReason.INVALID_FRAME_ID, message=message)
        frame.session.last_frame_id = given
        return None

    def _lost_fault(self, frame: FrameState[P]) -> FrameFault | None:
        for model in frame.models:
            batcher = self._batchers[model]
            if batcher.lost is not None:
                return engine_lost(batcher.terms.name, batcher.lost)
        return None

    def _budget_fault(self, frame: FrameState[P], now: int) -> FrameFault | None:
        """A frame that is late already is answered so; the others are watched."""
        budget = frame.session.terms.latency_budget_ns
        if budget is None or not frame.request.crops:
            return None
        due = frame.arrived_ns + budget - frame.request.age_ns
        if due <= now:
            return over_budget(budget)
        frame.budget_timer = self._timers.add(due, TimerKind.FRAME_BUDGET, frame.key)
        return None

    def _keep_window(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        """Have the session's policy answer what is over its window."""
        session = frame.session
        match session.terms.overload_policy:
            case OverloadPolicy.WAIT:
                pass  # the session was not read while its window was full
            case OverloadPolicy.DROP_OLDEST:
                while session.over_window and (victim := session.oldest_unstarted()) is not None:
                    self._ledger.resolve(victim, _dropped("the session's window is full"), effects, keep_place=True)
            case OverloadPolicy.REJECT:
                if session.over_window:
                    window = session.terms.window
                    message = f"the window of {window.frames} frames and {window.bytes} bytes is full"
                    self._ledger.resolve(frame, self._try_later(FaultReason.WINDOW_FULL, message), effects)
            case _:
                assert_never(session.terms.overload_policy)

    def _overflow(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """Have the session's policy deal with a frame for which the queue has no room."""
        session, admission = frame.session, self._ledger.admission
        match session.terms.overload_policy:
            case OverloadPolicy.WAIT:
                admission.park(frame)
            case OverloadPolicy.DROP_OLDEST:
                self._make_room(frame, now, effects)
            case OverloadPolicy.REJECT:
                message = f"the queue holds {admission.boxes} of {self._limits.max_queue_boxes} boxes"
                self._ledger.resolve(frame, self._try_later(FaultReason.QUEUE_FULL, message), effects)
            case _:
                assert_never(session.terms.overload_policy)

    def _make_room(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """DROP_OLDEST: the newest frame takes the parked one's place, or the room of the session's older ones."""
        session, admission = frame.session, self._ledger.admission
        dropped = _dropped("the server's queue is full")
        if session.parked is not None:
            self._ledger.resolve(session.parked, dropped, effects, keep_place=True)
        else:
            while not admission.others_first(frame):
                if admission.admit(frame):
                    self._ledger.queue(frame, now)
                    return
                victim = session.oldest_unstarted()
                if victim is None or victim is frame:
                    break
                self._ledger.resolve(victim, dropped, effects)
        admission.park(frame)

    def _try_later(self, reason: FaultReason, message: str) -> FrameFault:
        retry_ms = self._rate.milliseconds_for(self._ledger.admission.boxes)
        return FrameFault(reason=reason, message=f"{message}; try again in {retry_ms} ms", retry_after_ms=retry_ms)


def over_budget(budget_ns: int) -> FrameFault:
    """The fault of a frame that grew too old."""
    message = f"older than the session's latency budget of {budget_ns // 1_000_000} ms before its inference began"
    return FrameFault(reason=FaultReason.OVER_BUDGET, message=message)


def engine_lost(model: str, why: str) -> FrameFault:
    """The fault of a frame whose engine cannot go on."""
    message = f"the engine of model {model!r} cannot go on ({why}); send the frame elsewhere"
    return FrameFault(reason=FaultReason.ENGINE_LOST, message=message)


def _dropped(why: str) -> FrameFault:
    return FrameFault(reason=FaultReason.DROPPED, message=f"given up for a newer frame: {why}")
