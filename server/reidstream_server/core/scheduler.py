"""The scheduler: events in, effects out.

Why one class: every event may free a slot, a byte or a place in a window, and what follows must happen in one step, so
that no bound is exceeded in between. Each event method changes the state, then `_pump` starts whatever can start.
A model comes with `add_model`; it goes after `retire_model`, in the event with which nothing of it is left.

    frame_arrived -> (parked) -> queued -> Stage -> frame_staged -> Run ... batch_done -> Release -> Answer ->
    answer_written

Trap: an event may come for something that is no longer there (a batch of a lost engine, an answer of a session that
vanished, anything of a model that is gone). Such events are expected, and ignored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar, assert_never

from .admission import Admission
from .arrival import Arrivals
from .delivery import Delivery
from .effects import Effect, End, EndCause, GiveUpStaging, Retired, SendDrain, SetAside, Stage
from .faults import SESSION_LOST, SHUTTING_DOWN, FrameFault, over_budget, staging_timeout
from .fleet import Fleet
from .inference import Inference
from .ledger import Ledger
from .sources import Sources
from .state import FrameState, Phase, SessionState
from .statistics import SchedulerStatistics, ServiceRate, SessionStatistics
from .terms import (
    BatchKey,
    DrainReason,
    FrameKey,
    FrameRequest,
    ModelIndex,
    ModelTerms,
    SchedulerLimits,
    SessionKey,
    SessionTerms,
)
from .timers import Timer, TimerKind, Timers

P = TypeVar("P")


class Scheduler(Generic[P]):
    """See the module. It begins without models. `now` is a monotonic clock in nanoseconds and never goes back. Not
    thread-safe.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        self._keys = 0
        self._sessions: dict[SessionKey, SessionState[P]] = {}
        self._fleet: Fleet[P] = Fleet(limits)
        self._timers = Timers()
        self._limits = limits
        self._sources: Sources[P] = Sources(self._timers)
        admission: Admission[P] = Admission(limits)
        self._delivery: Delivery[P] = Delivery(self._timers, admission, stall_timeout_ns=limits.stall_timeout_ns)
        self._ledger: Ledger[P] = Ledger(limits, self._fleet, self._timers, admission, self._delivery)
        rate = ServiceRate()
        self._arrivals: Arrivals[P] = Arrivals(limits, self._fleet.batchers, self._ledger, self._timers, rate)
        self._inference: Inference[P] = Inference(limits, self._fleet, self._ledger, self._timers, rate)

    # Models.

    def add_model(self, terms: ModelTerms) -> ModelIndex:
        """A model that sessions may name from now on. Its index is a new one, never used again."""
        return self._fleet.add(terms)

    def retire_model(self, index: ModelIndex, now: int) -> list[Effect[P]]:
        """Let no new session name the model; open ones go on using it. A Retired comes when nothing of it is left (see
        `fleet`). Harmless to repeat. Raises LookupError for an index that was never given out.
        """
        self._fleet.retire(index)
        return self._pump(now, [], None)

    # Sessions.

    def open_session(self, terms: SessionTerms) -> SessionKey:
        """Begin a session. It may be read at once, unless its source is not read at present. Raises LookupError if it names a model that is retiring, gone or
        unknown: a mistake of the caller.
        """
        self._fleet.open(terms.models)
        key = SessionKey(self._next_key())
        state = self._sessions[key] = SessionState(key, terms)
        self._sources.enter(state)
        state.was_readable = state.readable
        return key

    def readable(self, session: SessionKey) -> bool:
        """Whether the session's next message may be read; if not, a Readable comes when it may."""
        state = self._sessions.get(session)
        return state is None or state.readable

    def paused_until_ns(self, source: str) -> int | None:
        """Until when nothing of the source is read; None if it may be. It may be longer by then."""
        return self._sources.until_ns(source)

    def charge(self, source: str, cost_ns: int, now: int) -> list[Effect[P]]:
        """The source took so much of a core without a right to it: it is not read for some time."""
        for session in self._sources.charge(source, cost_ns, now):
            self._delivery.touch(session)
        return self._pump(now, [], None)

    def session_statistics(self, session: SessionKey) -> SessionStatistics | None:
        """A snapshot of one session; None if it is over."""
        state = self._sessions.get(session)
        return None if state is None else state.statistics()

    def half_closed(self, session: SessionKey, now: int) -> list[Effect[P]]:
        """The client sends no more; what is open is answered, then the session ends."""
        state = self._sessions.get(session)
        if state is not None:
            state.half_closed = True
        return self._pump(now, [], state)

    def session_lost(self, session: SessionKey, now: int) -> list[Effect[P]]:
        """The client is gone: nothing is answered, and what has not started never does."""
        effects: list[Effect[P]] = []
        state = self._sessions.get(session)
        if state is not None:
            self._forget(state, effects)
        return self._pump(now, effects, None)

    def drain(self, session: SessionKey, reason: DrainReason, deadline_ns: int, now: int) -> list[Effect[P]]:
        """Ask one session to leave: what was read is answered, what comes after is not processed.

        Repeated, it can only bring the deadline forward, and the client is not told again.
        """
        effects: list[Effect[P]] = []
        state = self._sessions.get(session)
        if state is None:
            return self._pump(now, effects, None)
        if state.drain_timer is None or deadline_ns < state.drain_timer.at_ns:
            self._timers.cancel(state.drain_timer)
            state.drain_timer = self._timers.add(deadline_ns, TimerKind.DRAIN, session)
        if not state.draining:
            state.draining = True
            last = state.last_frame_id
            effects.append(
                SendDrain(session=session, last_accepted_frame_id=last, deadline_ns=deadline_ns, reason=reason)
            )
        return self._pump(now, effects, state)

    # Frames.

    def frame_arrived(self, session: SessionKey, request: FrameRequest, payload: P, now: int) -> list[Effect[P]]:
        """A frame was read and understood. Raises LookupError, with nothing changed, if a crop's model is not one of
        its session's: a mistake of the caller.
        """
        effects: list[Effect[P]] = []
        frame = self._enter(session, request, payload, now)
        if frame is not None:
            self._arrivals.decide(frame, now, effects)
        return self._pump(now, effects, self._sessions.get(session))

    def frame_refused(
        self, session: SessionKey, frame_id: int, fault: FrameFault, now: int, *, spent_ns: int = 0
    ) -> list[Effect[P]]:
        """A frame was read, which took `spent_ns`, and is answered with this fault when it is its turn. Its source pays:
        refused frames take no place in any queue.
        """
        effects: list[Effect[P]] = []
        request = FrameRequest(
            frame_id=frame_id, message_bytes=0, staged_bytes=0, answer_bytes=0, staging_ns=0, age_ns=0, crops=()
        )
        frame = self._enter(session, request, None, now)
        if frame is not None:
            self._ledger.resolve(frame, self._arrivals.id_fault(frame) or fault, effects)
            self._charge(frame, spent_ns, now)
        return self._pump(now, effects, self._sessions.get(session))

    def frame_staged(
        self, key: FrameKey, now: int, invalid: Collection[int] = (), *, spent_ns: int = 0
    ) -> list[Effect[P]]:
        """Staging is done. `invalid`: the crops whose own image could not be decoded. `spent_ns`: of a core."""
        effects: list[Effect[P]] = []
        frame = self._ledger.end_staging(key)
        if frame is not None:
            self._spent(frame, spent_ns, now)
            frame.staged = True
            frame.phase = Phase.READY
            frame.decoded_ns = now
            if not frame.resolved:
                self._inference.queue_crops(frame, invalid, now)
            self._ledger.settle(frame, effects)
        return self._pump(now, effects, None)

    def frame_staging_failed(self, key: FrameKey, fault: FrameFault, now: int, *, spent_ns: int = 0) -> list[Effect[P]]:
        """The frame could not be staged, and a core was busy with that for `spent_ns`."""
        effects: list[Effect[P]] = []
        frame = self._ledger.end_staging(key)
        if frame is not None:
            self._spent(frame, spent_ns, now)
            self._ledger.resolve(frame, fault, effects)
            self._ledger.settle(frame, effects)
        return self._pump(now, effects, None)

    def answer_written(self, session: SessionKey, now: int) -> list[Effect[P]]:
        """The transport has written the session's oldest answer."""
        state = self._sessions.get(session)
        if state is not None:
            self._delivery.written(state, now)
        return self._pump(now, [], state)

    # Batches.

    def batch_done(self, model: ModelIndex, key: BatchKey, now: int) -> list[Effect[P]]:
        """Every crop of the batch is embedded."""
        effects: list[Effect[P]] = []
        self._inference.done(model, key, now, effects)
        return self._pump(now, effects, None)

    def batch_failed(self, model: ModelIndex, key: BatchKey, message: str, now: int) -> list[Effect[P]]:
        """The engine failed on the batch, and can go on. Its crops are tried one by one; one that was alone failed."""
        effects: list[Effect[P]] = []
        self._inference.failed(model, key, message, now, effects)
        return self._pump(now, effects, None)

    def engine_lost(self, model: ModelIndex, message: str, now: int) -> list[Effect[P]]:
        """The engine cannot go on: every frame that needs it is answered so, now and from now on."""
        effects: list[Effect[P]] = []
        self._inference.lose(model, message, effects)
        return self._pump(now, effects, None)

    # Time and statistics.

    def next_timer_ns(self) -> int | None:
        """When `on_timer` must be called, if nothing else happens."""
        return self._timers.next_ns()

    def on_timer(self, now: int) -> list[Effect[P]]:
        """Time has passed."""
        return self._pump(now, [], None)

    def statistics(self, now: int) -> SchedulerStatistics:
        """A snapshot of everything that is bounded or counted."""
        ledger = self._ledger
        oldest = ledger.waiting.oldest_ns()
        return SchedulerStatistics(
            sessions=len(self._sessions),
            frames=len(ledger.frames),
            queue_boxes=ledger.admission.boxes,
            queue_bytes=ledger.admission.bytes,
            staged_bytes=ledger.staging.bytes,
            held_answer_bytes=ledger.admission.answer_bytes,
            staging_frames=ledger.staging.frames,
            aside_frames=ledger.staging.aside_frames,
            lost_stagings=ledger.staging.lost,
            parked_frames=ledger.admission.parked,
            parked_bytes=ledger.admission.parked_bytes,
            paused_sources=self._sources.paused,
            oldest_waiting_s=(now - oldest) / 1e9 if oldest is not None else 0.0,
            timers=len(self._timers),
            models=tuple(batcher.statistics(index) for index, batcher in self._fleet.batchers.items()),
        )

    # What follows from an event.

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys

    def _enter(self, session: SessionKey, request: FrameRequest, payload: P | None, now: int) -> FrameState[P] | None:
        """Give the frame its place in the session; None if the session does not take frames any more."""
        state = self._sessions.get(session)
        if state is None or state.draining:
            return None
        models = frozenset(request.crops)
        if not models <= state.terms.models:
            raise LookupError(
                f"frame {request.frame_id} has crops for the models {sorted(models)}; "
                f"its session may use {sorted(state.terms.models)}"
            )
        self._fleet.use(models)
        staging_ns = self._sources.expected_ns(state.terms.source, request.staging_ns)
        frame = FrameState(
            key=FrameKey(self._next_key()),
            session=state,
            request=request,
            arrived_ns=now,
            payload=payload,
            models=models,
            cost_ns=max(1, staging_ns + self._crops_ns(request)),
            expected_staging_ns=staging_ns,
            heavy=len(request.crops) > self._limits.heavy_boxes or staging_ns > self._limits.heavy_staging_ns,
        )
        frame.outcomes = [None] * frame.boxes
        frame.open_crops = frame.boxes
        self._ledger.frames[frame.key] = frame
        state.open_frames[frame.key] = frame
        return frame

    def _crops_ns(self, request: FrameRequest) -> int:
        """What the crops of a frame cost."""
        batchers = self._fleet.batchers
        if len(batchers) == 1:
            return len(request.crops) * next(iter(batchers.values())).box_ns
        return sum(batchers[model].box_ns for model in request.crops)

    def _spent(self, frame: FrameState[P], spent_ns: int, now: int) -> None:
        """The staging of a frame has cost so much; its source pays for what nobody could expect."""
        over_ns = self._sources.staged(
            frame.session.terms.source,
            declared_ns=frame.request.staging_ns,
            expected_ns=frame.expected_staging_ns,
            spent_ns=spent_ns,
        )
        if spent_ns > self._limits.slow_staging_ns and not frame.given_up:
            self._charge(frame, over_ns, now)

    def _charge(self, frame: FrameState[P], cost_ns: int, now: int) -> None:
        for session in self._sources.charge(frame.session.terms.source, cost_ns, now):
            self._delivery.touch(session)

    def _pump(self, now: int, effects: list[Effect[P]], touched: SessionState[P] | None) -> list[Effect[P]]:
        """Start whatever can start, then hand out what may be written."""
        if touched is not None:
            self._delivery.touch(touched)
        while (timer := self._timers.pop_due(now)) is not None:
            self._fire(timer, now, effects)
        while (parked := self._ledger.admission.next_admitted()) is not None:
            self._ledger.queue(parked, now)
            self._delivery.touch(parked.session)
        self._inference.start(now, effects)
        while (frame := self._ledger.next_to_stage(now)) is not None and frame.payload is not None:
            effects.append(Stage(frame=frame.key, payload=frame.payload, aside=frame.aside))
        self._inference.watch()
        for over in self._delivery.flush(now, effects):
            self._forget(over, effects)
        if self._fleet.unused:
            effects += [Retired(model=model) for model in self._fleet.forget_unused()]
        return effects

    def _fire(self, timer: Timer, now: int, effects: list[Effect[P]]) -> None:
        match timer.kind:
            case TimerKind.FRAME_BUDGET:
                late = self._ledger.frames.get(FrameKey(timer.key))
                if late is not None:
                    self._ledger.resolve(late, over_budget(late.session.terms.latency_budget_ns or 0), effects)
            case TimerKind.LINGER:
                pass  # the pump that follows forms the batch
            case TimerKind.BATCH_TIMEOUT:
                self._inference.timed_out(BatchKey(timer.key), effects)
            case TimerKind.STALL:
                session = self._sessions.get(SessionKey(timer.key))
                if session is not None and self._delivery.stalled(session, now):
                    effects.append(End(session=session.key, cause=EndCause.STALLED))
                    self._forget(session, effects)
            case TimerKind.DRAIN:
                session = self._sessions.get(SessionKey(timer.key))
                for frame in list(session.open_frames.values()) if session is not None else ():
                    self._ledger.resolve(frame, SHUTTING_DOWN, effects)
            case TimerKind.STAGING:
                self._slow_stagings(now, effects)
            case TimerKind.PAUSE:
                for session in self._sources.look(timer.key, now):
                    self._delivery.touch(session)
            case _:
                assert_never(timer.kind)

    def _slow_stagings(self, now: int, effects: list[Effect[P]]) -> None:
        """Some frames are staged for longer than anybody could expect."""
        for frame in self._ledger.staging.look(now):
            if frame.payload is None:
                continue
            if not frame.given_up:
                effects.append(SetAside(frame=frame.key, payload=frame.payload))
                continue
            effects.append(GiveUpStaging(frame=frame.key, payload=frame.payload))
            self._charge(frame, now - frame.staging_ns, now)
            self._ledger.resolve(frame, staging_timeout(self._limits.staging_timeout_ns), effects)
        if self._ledger.staging.broken:
            for model in list(self._fleet.batchers):
                self._inference.lose(model, "too many pictures are decoded without end", effects)

    def _forget(self, session: SessionState[P], effects: list[Effect[P]]) -> None:
        """The session is over: let go of everything that it has open."""
        session.gone = True
        self._sessions.pop(session.key, None)
        self._sources.leave(session)
        self._timers.cancel(session.stall_timer)
        self._timers.cancel(session.drain_timer)
        for frame in list(session.open_frames.values()):
            self._ledger.resolve(frame, SESSION_LOST, effects)
        for answer in session.unwritten:
            self._ledger.admission.release_answer(answer.frame)
        session.open_frames.clear()
        session.resolved.clear()
        self._fleet.leave(session.terms.models)
