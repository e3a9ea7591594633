"""What happens to a frame that has just come: answered at once, admitted, parked, dropped or rejected.

The window comes first (the session's own bound), then the queue (everybody's). Trap: under DROP_OLDEST the new frame
may itself be the oldest that has not started; then it is the one that is dropped.
"""

from __future__ import annotations

from typing import Generic, TypeVar, assert_never

from . import faults
from .effects import Effect
from .faults import FrameFault
from .fleet import Fleet
from .ledger import Ledger
from .sources import Sources
from .state import FrameState, SessionState
from .statistics import ServiceRate
from .terms import Bound, FrameKey, FrameRequest, OverloadPolicy, SchedulerLimits
from .timers import TimerKind, Timers

P = TypeVar("P")


class Arrivals(Generic[P]):
    """Applies the overload policies. Not thread-safe."""

    def __init__(
        self,
        limits: SchedulerLimits,
        fleet: Fleet[P],
        ledger: Ledger[P],
        sources: Sources[P],
        *,
        timers: Timers,
        rate: ServiceRate,
    ) -> None:
        self._limits = limits
        self._fleet = fleet
        self._batchers = fleet.batchers
        self._ledger = ledger
        self._sources = sources
        self._timers = timers
        self._rate = rate

    def enter(
        self, session: SessionState[P], key: FrameKey, request: FrameRequest, payload: P | None, now: int
    ) -> FrameState[P]:
        """Weigh the frame, and give it its place in the session. Raises LookupError, with nothing changed, for a crop
        whose model is not one of the session's.
        """
        models = frozenset(request.crops)
        if not models <= session.terms.models:
            raise LookupError(
                f"frame {request.frame_id} has crops for the models {sorted(models)}; "
                f"its session may use {sorted(session.terms.models)}"
            )
        self._fleet.use(models)
        staging_ns = self._sources.expected_ns(session.terms.source, request.staging_ns)
        frame = FrameState(
            key=key,
            session=session,
            request=request,
            priority=session.terms.priority,
            arrived_ns=now,
            payload=payload,
            models=models,
            cost_ns=max(1, staging_ns + self._crops_ns(request)),
            expected_staging_ns=staging_ns,
            heavy=len(request.crops) > self._limits.heavy_boxes or staging_ns > self._limits.heavy_staging_ns,
        )
        frame.outcomes = [None] * frame.boxes
        frame.open_crops = frame.boxes
        self._ledger.frames[key] = frame
        session.open_frames[key] = frame
        return frame

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
            admission.count_refusal(frame)
            self._park(frame, effects)  # in the place of a frame that its window has cost; let in when there is room
        elif session.parked is None and admission.admit(frame):
            self._ledger.queue(frame, now)
        else:
            admission.count_refusal(frame)
            self._overflow(frame, now, effects)

    def id_fault(self, frame: FrameState[P]) -> FrameFault | None:
        """Frame ids must rise; a frame that keeps the rule becomes the last one."""
        last, given = frame.session.last_frame_id, frame.request.frame_id
        if last is not None and given <= last:
            return faults.invalid_frame_id(given, last)
        frame.session.last_frame_id = given
        return None

    def _lost_fault(self, frame: FrameState[P]) -> FrameFault | None:
        for model in frame.models:
            batcher = self._batchers[model]
            if batcher.lost is not None:
                return faults.engine_lost(batcher.terms.name, batcher.lost)
        return None

    def _budget_fault(self, frame: FrameState[P], now: int) -> FrameFault | None:
        """The fault of a frame that is late already; the others get a timer."""
        budget = frame.session.terms.latency_budget_ns
        if budget is None or not frame.request.crops:
            return None
        due = frame.arrived_ns + budget - frame.request.age_ns
        if due <= now:
            return faults.over_budget(budget)
        frame.budget_timer = self._timers.add(due, TimerKind.FRAME_BUDGET, frame.key)
        return None

    def _keep_window(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        """What is over the window is answered, as the session's policy says."""
        session = frame.session
        match session.terms.overload_policy:
            case OverloadPolicy.WAIT:
                pass  # the session was not read while its window was full
            case OverloadPolicy.DROP_OLDEST:
                while session.over_window and (victim := session.oldest_unstarted()) is not None:
                    self._ledger.resolve(victim, faults.DROPPED_BY_WINDOW, effects, keep_place=True)
            case OverloadPolicy.REJECT:
                if session.over_window:
                    fault = faults.window_full(session.terms.window, self._retry_ms())
                    self._ledger.resolve(frame, fault, effects)
            case _:
                assert_never(session.terms.overload_policy)

    def _overflow(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """The queue has no room for the frame: the session's policy decides."""
        session, admission = frame.session, self._ledger.admission
        match session.terms.overload_policy:
            case OverloadPolicy.WAIT:
                self._park(frame, effects)
            case OverloadPolicy.DROP_OLDEST:
                self._make_room(frame, now, effects)
            case OverloadPolicy.REJECT:
                fault = faults.queue_full(admission.boxes, self._limits.max_queue_boxes, self._retry_ms())
                self._ledger.resolve(frame, fault, effects)
            case _:
                assert_never(session.terms.overload_policy)

    def _make_room(self, frame: FrameState[P], now: int, effects: list[Effect[P]]) -> None:
        """DROP_OLDEST: the newest frame takes the parked one's place, or the room of the session's older ones."""
        session, admission = frame.session, self._ledger.admission
        if session.parked is not None:
            self._ledger.resolve(session.parked, faults.DROPPED_BY_QUEUE, effects, keep_place=True)
        else:
            while not admission.others_first(frame):
                if admission.admit(frame):
                    self._ledger.queue(frame, now)
                    return
                victim = session.oldest_unstarted()
                if victim is None or victim is frame:
                    break
                self._ledger.resolve(victim, faults.DROPPED_BY_QUEUE, effects)
        self._park(frame, effects)

    def _park(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        """Let the frame wait for room, unless even those that wait are too much: memory has an end."""
        admission, request = self._ledger.admission, frame.request
        if admission.may_park(frame):
            admission.park(frame)
            return
        admission.refusals[Bound.PARKED] += 1
        fault = faults.parking_full(request.message_bytes, self._limits.max_parked_bytes, self._retry_ms())
        self._ledger.resolve(frame, fault, effects)
        admission.unpark(frame.session)

    def _crops_ns(self, request: FrameRequest) -> int:
        """What the crops of a frame cost."""
        if len(self._batchers) == 1:
            return len(request.crops) * next(iter(self._batchers.values())).box_ns
        return sum(self._batchers[model].box_ns for model in request.crops)

    def _retry_ms(self) -> int:
        """When a rejected client should come back."""
        return self._rate.milliseconds_for(self._ledger.admission.boxes)
