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
from .decoding import Decoding
from .delivery import Delivery
from .effects import Effect, End, EndCause, Retired, SendDrain, Stage
from .faults import REFUSED_FOR_ROOM, SESSION_LOST, SHUTTING_DOWN, FrameFault, over_budget
from .fleet import Fleet
from .inference import Inference
from .ledger import Ledger
from .progress import OpenFrame, SessionProgress, open_frames_of, progress_of
from .sources import USUAL_BYTE_NS, Sources, usual_reading_ns
from .state import FrameState, SessionState
from .statistics import SchedulerStatistics, ServiceRate, SessionStatistics, WindowStatistics
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
        admission: Admission[P] = Admission(limits)
        self._delivery: Delivery[P] = Delivery(self._timers, admission, stall_timeout_ns=limits.stall_timeout_ns)
        self._sources: Sources[P] = Sources(self._timers, self._delivery)
        self._ledger: Ledger[P] = Ledger(
            limits, self._fleet, self._timers, admission, delivery=self._delivery, sources=self._sources
        )
        rate = ServiceRate()
        self._arrivals: Arrivals[P] = Arrivals(
            limits, self._fleet, self._ledger, self._sources, timers=self._timers, rate=rate
        )
        self._inference: Inference[P] = Inference(limits, self._fleet, self._ledger, self._timers, rate)
        self._decoding: Decoding[P] = Decoding(limits, self._ledger, self._inference, self._sources)

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
        """Begin a session. It may be read at once, unless its source is not read at present. Raises LookupError if it
        names a model that is retiring, gone or unknown: a mistake of the caller.
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
        self._sources.charge(source, cost_ns, now)
        return self._pump(now, [], None)

    def called(self, source: str, cost_ns: int, now: int) -> list[Effect[P]]:
        """A call of the source takes so much of the event loop, beside the work of frames. It needs no session."""
        self._sources.called(source, cost_ns)
        return self._pump(now, [], None)

    def session_statistics(self, session: SessionKey) -> SessionStatistics | None:
        """A snapshot of one session; None if it is over."""
        state = self._sessions.get(session)
        return None if state is None else state.statistics()

    def session_progress(self, session: SessionKey, now: int) -> SessionProgress | None:
        """How far its open frames are; None if it is over. Looks at every one of them."""
        state = self._sessions.get(session)
        return None if state is None else progress_of(state, now)

    def open_frames(self, session: SessionKey, most: int, now: int) -> tuple[OpenFrame, ...]:
        """The oldest of the session's open frames."""
        state = self._sessions.get(session)
        return () if state is None else open_frames_of(state, most, now)

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

    def frame_arrived(
        self, session: SessionKey, request: FrameRequest, payload: P, now: int, *, spent_ns: int = 0
    ) -> list[Effect[P]]:
        """A frame was read, which took `spent_ns`, and understood. If it is refused for want of room, its source pays
        for that. Raises LookupError, with nothing changed, if a crop's model is not one of its session's.
        """
        effects: list[Effect[P]] = []
        frame = self._enter(session, request, payload, now, spent_ns)
        if frame is not None:
            frame.reading_ns = spent_ns
            self._arrivals.decide(frame, now, effects)
            if frame.fault is not None and frame.fault.reason in REFUSED_FOR_ROOM:
                self._sources.charge(frame.session.terms.source, spent_ns, now)
            usual = min(frame.cost_ns, usual_reading_ns(frame.boxes)) + USUAL_BYTE_NS * request.message_bytes
            if not frame.resolved and spent_ns > usual:
                self._sources.read_in_vain(frame.session.terms.source, spent_ns - usual)
                frame.reading_ns = usual  # what is left, if it is given up
        return self._pump(now, effects, self._sessions.get(session))

    def frame_refused(
        self, session: SessionKey, frame_id: int, fault: FrameFault, now: int, *, spent_ns: int = 0
    ) -> list[Effect[P]]:
        """A frame was read, which took `spent_ns`, and is answered with this fault when it is its turn. Its source pays
        for it, since refused frames take no place in any queue.
        """
        effects: list[Effect[P]] = []
        request = FrameRequest(
            frame_id=frame_id, message_bytes=0, staged_bytes=0, answer_bytes=0, staging_ns=0, age_ns=0, crops=()
        )
        frame = self._enter(session, request, None, now, spent_ns)
        if frame is not None:
            self._ledger.resolve(frame, self._arrivals.id_fault(frame) or fault, effects)
            self._sources.charge(frame.session.terms.source, spent_ns, now)
        return self._pump(now, effects, self._sessions.get(session))

    def frame_staged(
        self, key: FrameKey, now: int, invalid: Collection[int] = (), *, spent_ns: int = 0
    ) -> list[Effect[P]]:
        """Staging is done. `invalid`: the crops whose own image could not be decoded. `spent_ns`: of a core."""
        effects: list[Effect[P]] = []
        self._decoding.staged(key, invalid, spent_ns, now, effects)
        return self._pump(now, effects, None)

    def frame_staging_failed(self, key: FrameKey, fault: FrameFault, now: int, *, spent_ns: int = 0) -> list[Effect[P]]:
        """The frame could not be staged, and a core was busy with that for `spent_ns`."""
        effects: list[Effect[P]] = []
        self._decoding.failed(key, fault, spent_ns, now, effects)
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
        return self._ledger.statistics(
            now, sessions=len(self._sessions), timers=len(self._timers), paused_sources=self._sources.paused
        )

    def window_statistics(self) -> WindowStatistics:
        """A snapshot of all sessions together. Looks at each of them."""
        frames = answers = used = limit = full = 0
        for session in self._sessions.values():
            window = session.terms.window
            frames += len(session.open_frames)
            answers += len(session.unwritten)
            used += session.window_frames
            limit += window.frames
            full += session.window_frames >= window.frames or session.window_bytes >= window.bytes
        return WindowStatistics(
            open_frames=frames, unwritten_answers=answers, window_frames=used, window_limit=limit, full_windows=full
        )

    # What follows from an event.

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys

    def _enter(
        self, session: SessionKey, request: FrameRequest, payload: P | None, now: int, spent_ns: int
    ) -> FrameState[P] | None:
        """Give the frame its place in the session; None if the session does not take frames any more: then it was read
        for nothing.
        """
        state = self._sessions.get(session)
        if state is None:
            return None
        if state.draining:
            self._sources.read_in_vain(state.terms.source, spent_ns)
            return None
        frame = self._arrivals.enter(state, FrameKey(self._keys + 1), request, payload, now)
        self._keys += 1
        return frame

    def _pump(self, now: int, effects: list[Effect[P]], touched: SessionState[P] | None) -> list[Effect[P]]:
        """Start whatever can start, then hand out what may be written."""
        if touched is not None:
            self._delivery.touch(touched)
        while (timer := self._timers.pop_due(now)) is not None:
            self._fire(timer, now, effects)
        while (parked := self._ledger.admission.next_admitted()) is not None:
            self._ledger.queue(parked, now)
            self._delivery.touch(parked.session)
        self._sources.settle(now)  # before staging: all frames of those who pay are heavy
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
            case TimerKind.STAGING:
                self._decoding.look(now, effects)
            case TimerKind.PAUSE:
                self._sources.look(timer.key, now)
            case TimerKind.STALL | TimerKind.DRAIN:
                session = self._sessions.get(SessionKey(timer.key))
                if session is not None:
                    self._session_due(session, timer.kind, now, effects)
            case _:
                assert_never(timer.kind)

    def _session_due(self, session: SessionState[P], kind: TimerKind, now: int, effects: list[Effect[P]]) -> None:
        if kind is TimerKind.DRAIN:
            for frame in list(session.open_frames.values()):
                self._ledger.resolve(frame, SHUTTING_DOWN, effects)
        elif self._delivery.stalled(session, now):
            effects.append(End(session=session.key, cause=EndCause.STALLED))
            self._forget(session, effects)

    def _forget(self, session: SessionState[P], effects: list[Effect[P]]) -> None:
        """The session is over: let go of everything that it has open."""
        session.gone = True
        self._sessions.pop(session.key, None)
        self._timers.cancel(session.stall_timer)
        self._timers.cancel(session.drain_timer)
        for frame in list(session.open_frames.values()):
            self._ledger.resolve(frame, SESSION_LOST, effects)
            if frame.fault is None:  # its answer was known, and waited for its turn
                self._ledger.admission.release_answer(frame)
        for answer in session.unwritten:
            self._ledger.admission.answer_written(session, answer)
        session.open_frames.clear()
        session.resolved.clear()
        self._sources.leave(session)
        self._fleet.leave(session.terms.models)
