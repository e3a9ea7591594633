"""Drives the scheduler: its only caller, on one event loop.

It carries out every effect, in order: frames and batches go to threads, answers to their session's mailbox. Nobody
polls: a staged frame, a finished batch, a timer or a message wakes the loop once.

Trap: the methods are called on the event loop only. Threads come back through `loop.call_soon_threadsafe`. If the code
that they wake raises, somebody would wait for ever; so that ends the process, as a lost engine does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import TracebackType
from typing import Self, assert_never

from reidstream_engines.protocol import Engine, Stager
from reidstream_server.core.effects import (
    Answer,
    BatchFailed,
    Effect,
    End,
    EndCause,
    EngineDied,
    GiveUpStaging,
    Readable,
    Release,
    Retired,
    Run,
    SendDrain,
    SetAside,
    Stage,
)
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.progress import OpenFrame, SessionProgress
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.statistics import SchedulerStatistics, SessionStatistics, WindowStatistics
from reidstream_server.core.terms import (
    BatchKey,
    DrainReason,
    FrameKey,
    FrameRequest,
    ModelIndex,
    ModelTerms,
    SchedulerLimits,
    SessionKey,
)
from reidstream_server.errors import GoingAway
from reidstream_server.logs import get_logger
from reidstream_server.tracks.room import TrackBounds, TrackFigures, TrackRoom
from reidstream_server.tracks.track import Snapshot, TrackEnded

from .agreement import Agreement
from .at_work import ModelsAtWork, close_all
from .blocking import Embedded, Embedding, Failed, Lost, Staged, Staging
from .dispatch import Dispatch
from .job import FrameJob
from .losses import LossWatch
from .models import ModelTable, ServedModel
from .open_sessions import OpenSessions
from .session import JobAnswer, Observer, Origin, Session
from .statistics import SessionFigures
from .trace import trace_field
from .tracking import SessionTracks
from .wakeups import Wakeups
from .workers import Workers

log = get_logger(__name__)

JobEffect = Effect[FrameJob]

NO_TRACKS = TrackBounds(max_tracks=0, max_bytes=0)


class Runtime:
    """See the module. Open it with `async with`; closing waits for the threads, but not for one that does not return.

    `models`: what new calls get; it begins empty. `losses`: tells who loses frames, when asked to look. `engine_died`:
    done, with the reason, when the process must end. `stuck`: after closing, whether a thread still works. `tracks`:
    without bounds for it, there is no memory of tracks.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        stager: Stager,
        observer: Observer,
        tracks: TrackBounds = NO_TRACKS,
    ) -> None:
        self._scheduler: Scheduler[FrameJob] = Scheduler(limits)
        self.models = ModelTable()
        self._observer = observer
        self._sessions = OpenSessions()
        self._track_room = TrackRoom(tracks)
        self.losses = LossWatch()
        self._wakeups = Wakeups(self._failed, self._on_timer)
        self._computing = Workers(limits.cores, "computing", self._worker_failed)
        self._aside = Workers(limits.staging_slots, "aside", self._worker_failed, gives_way=True)
        self._at_work = ModelsAtWork(self._computing, self._worker_failed)
        self._dispatch = Dispatch(
            stager,
            self._computing,
            self._aside,
            self._at_work,
            self._wakeups,
            observer=observer,
            staged=self._staging_ended,
            embedded=self._batch_ended,
        )
        self.engine_died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stuck = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        everybody = [
            self._computing,
            self._aside,
            *self._at_work.workers,
        ]  # before the last sessions take their models with them
        for session in self._sessions:
            self.session_lost(session.key)
        self._at_work.abandon()
        self.stuck = not await asyncio.to_thread(close_all, everybody)
        self._wakeups.disarm()
        self.engine_died.cancel()

    # Models.

    def add_model(self, engine: Engine) -> ServedModel:
        """Serve a warmed engine under its name. New calls get it at once, in the place of an older one of that name,
        which goes on for the sessions that have it until it is retired.
        """
        limits, name = engine.limits, engine.spec.name
        workers = self._at_work.threads_for(name, limits)
        terms = ModelTerms(name=name, max_batch=limits.max_batch, slots=limits.slots, cores=limits.cores)
        model = ServedModel(index=self._scheduler.add_model(terms), engine=engine)
        self._at_work.add(model, workers)
        self._observer.model_added(model)
        self.models.add(model)
        return model

    async def retire_model(self, model: ServedModel) -> bool:
        """Give the model to no new call, and wait until every session that has it is over and its threads have ended.

        True: the engine may be closed. False: a thread has not ended yet, or the runtime was closed; ask again. Waits
        for ever while a session stays open or a thread is inside the engine, so set a time-out of your own. Sessions
        end by themselves, or are asked to by `drain_session`. Cancelling it stops the waiting alone: the model stays
        withdrawn. Harmless to repeat.
        """
        self.models.withdraw(model)
        self._carry_out(self._scheduler.retire_model(model.index, time.monotonic_ns()))
        return await self._at_work.gone(model)

    # What doors call.

    @property
    def leaving(self) -> bool:
        """Whether the server is stopping: no door takes anything new, and what was accepted is answered."""
        return self._sessions.leaving

    def leave(self) -> None:
        """Take no new sessions from now on. A `drain` follows."""
        self._sessions.leaving = True

    def refuse_when_leaving(self) -> None:
        """Raises GoingAway. For doors that would read something large, or wait, before they open a session."""
        self._sessions.refuse_when_leaving()

    def open_session(
        self, agreement: Agreement, origin: Origin | None = None, open_tracks: Sequence[Snapshot] = ()
    ) -> Session:
        """Begin a session; `origin`: of a stream. `open_tracks`: those that it goes on with, if it has tracks.

        Raises GoingAway, also if one of its models was retired since the call was agreed on.
        """
        self.refuse_when_leaving()
        try:
            key = self._scheduler.open_session(agreement.terms)
        except LookupError as error:
            raise GoingAway("the model was replaced while this call was read; call again") from error
        session = Session(key, agreement, origin)
        session.readable.set()
        self._gate(session)
        self._sessions.add(session)
        if agreement.tracks is not None:
            session.tracks = SessionTracks(
                agreement,
                agreement.tracks,
                self._track_room,
                key,
                told=partial(self._track_ended, session),
                failed=self._failed,
            )
            session.tracks.adopt(open_tracks)
        return session

    def may_read(self, session: Session) -> bool:
        """Whether a message of the session may be read now; if not, `readable` is set when it may."""
        self._gate(session)
        return session.readable.is_set()

    def frame_arrived(self, session: Session, request: FrameRequest, job: FrameJob, *, spent_ns: int = 0) -> None:
        """A frame was read and understood, which took the event loop `spent_ns`."""
        now = time.monotonic_ns()
        session.came(request.message_bytes + job.let_go)
        self._carry_out(self._scheduler.frame_arrived(session.key, request, job, now, spent_ns=spent_ns))
        self._gate(session)

    def frame_refused(self, session: Session, frame_id: int, fault: FrameFault, *, spent_ns: int = 0) -> None:
        """A frame was read, which took the event loop `spent_ns`, and is answered with a fault."""
        session.came(0)
        if session.tracks is not None:
            session.tracks.refused(frame_id)
        now = time.monotonic_ns()
        self._carry_out(self._scheduler.frame_refused(session.key, frame_id, fault, now, spent_ns=spent_ns))
        self._gate(session)

    def charge(self, source: str, spent_ns: int) -> None:
        """A call of the source was refused, and has cost so much. Nothing of the source is read for some time."""
        self._carry_out(self._scheduler.charge(source, spent_ns, time.monotonic_ns()))

    def called(self, source: str, cost_ns: int) -> None:
        """A call of the source takes the event loop so much, for which no frame accounts: a part of the time is free,
        and more is paid for.
        """
        self._carry_out(self._scheduler.called(source, cost_ns, time.monotonic_ns()))

    def pause_s(self, source: str) -> float:
        """How long nothing of the source is to be read, from now on; 0.0 if it may be. For doors without sessions."""
        until = self._scheduler.paused_until_ns(source)
        return 0.0 if until is None else max(0, until - time.monotonic_ns()) / 1e9

    def half_closed(self, session: Session) -> None:
        """The client sends no more."""
        if session.tracks is not None:
            session.tracks.half_closed()
        self._carry_out(self._scheduler.half_closed(session.key, time.monotonic_ns()))

    def answer_written(self, session: Session, answer: JobAnswer) -> None:
        """The door has written the session's oldest unwritten answer, which is this one."""
        now = time.monotonic_ns()
        session.counters.written(answer.fault, answer.times, now)
        if session.tracks is not None:
            session.tracks.answer_written(answer)
        self._carry_out(self._scheduler.answer_written(session.key, now))

    def session_lost(self, key: SessionKey, cause: EndCause | None = None) -> None:
        """The client is gone, or its call has ended; CLOSED: it said so. Harmless for a session that is over."""
        if self._sessions.remove(key):
            self._observer.session_ended(cause)
            self._carry_out(self._scheduler.session_lost(key, time.monotonic_ns()))

    def drain_session(self, session: Session, reason: DrainReason, timeout_s: float) -> None:
        """Ask one session to leave."""
        now = time.monotonic_ns()
        self._carry_out(self._scheduler.drain(session.key, reason, now + int(timeout_s * 1e9), now))

    async def drain(self, reason: DrainReason, timeout_s: float) -> bool:
        """Ask every session to leave and wait until all are over; False if some were not in time."""
        deadline = time.monotonic_ns() + int(timeout_s * 1e9)
        for session in self._sessions:
            self.drain_session(session, reason, timeout_s)
        if not self._sessions:
            return True
        # Past the deadline frames are given up, so sessions that were over by then prove nothing.
        return await self._sessions.all_over(timeout_s) and time.monotonic_ns() < deadline

    def session_figures(self, session: Session) -> SessionFigures:
        """A snapshot of one session, open or just over."""
        return session.figures(self._scheduler.session_statistics(session.key), time.monotonic_ns())

    def session_statistics(self, session: Session) -> SessionStatistics | None:
        """The scheduler's part of a session; None if it is over."""
        return self._scheduler.session_statistics(session.key)

    def session_progress(self, session: Session) -> SessionProgress | None:
        """How far its open frames are; None if it is over. Takes longer, the more are open."""
        return self._scheduler.session_progress(session.key, time.monotonic_ns())

    def open_frames(self, session: Session, most: int) -> tuple[OpenFrame, ...]:
        """The oldest of its open frames."""
        return self._scheduler.open_frames(session.key, most, time.monotonic_ns())

    def serves_others(self, sources: AbstractSet[str]) -> bool:
        """Whether a session is open of none of these sources. Looks at every session."""
        return any(session.agreement.terms.source not in sources for session in self._sessions)

    def sessions(self) -> Sequence[Session]:
        """Every session that is not over, the oldest first."""
        return tuple(self._sessions)

    @property
    def open_sessions(self) -> int:
        """Sessions that are not over."""
        return len(self._sessions)

    def statistics(self) -> SchedulerStatistics:
        """A snapshot of the scheduler."""
        return self._scheduler.statistics(time.monotonic_ns())

    def track_figures(self) -> TrackFigures:
        """A snapshot of all tracks together."""
        return self._track_room.figures()

    def window_statistics(self) -> WindowStatistics:
        """A snapshot of all sessions' windows together."""
        return self._scheduler.window_statistics()

    # Effects.

    def _carry_out(self, effects: Sequence[JobEffect]) -> None:
        for effect in effects:
            match effect:
                case Stage():
                    self._dispatch.stage(effect.frame, effect.payload, aside=effect.aside)
                case SetAside() | GiveUpStaging():
                    self._too_slow(effect)
                case Run():
                    self._observer.batch_started(effect.model, len(effect.crops))
                    self._dispatch.run(effect.model, effect.batch, effect.crops)
                case Release():
                    effect.payload.release()
                    if effect.vectors:
                        effect.payload.forget_vectors()
                case Answer() | SendDrain() | End() | Readable():
                    self._tell_session(effect)
                case BatchFailed() | EngineDied():
                    self._report(effect)
                case Retired():
                    self._observer.model_retired(self._at_work.over(effect.model))
                case _:
                    assert_never(effect)
        self._wakeups.arm(self._scheduler.next_timer_ns())

    def _tell_session(self, effect: JobAnswer | SendDrain | End | Readable) -> None:
        session = self._sessions.get(effect.session)
        if session is None:
            return
        match effect:
            case Answer():
                self._hand_out(session, effect)
            case SendDrain():
                session.draining = True
                if session.tracks is not None:
                    session.tracks.leave()
                session.mail.put_nowait(effect)
            case Readable():
                session.readable.set()
            case End():
                if session.tracks is not None and effect.cause is EndCause.FINISHED:
                    session.tracks.over()
                self._sessions.remove(effect.session)
                self._observer.session_ended(effect.cause)
                if effect.cause is EndCause.STALLED:
                    session.stalled.set()
                session.mail.put_nowait(effect)
            case _:
                assert_never(effect)

    def _hand_out(self, session: Session, answer: JobAnswer) -> None:
        if session.tracks is not None:
            session.tracks.handed_out(answer)
        trace = None if answer.payload is None else answer.payload.trace
        self._observer.answered(answer, time.monotonic_ns(), None if trace is None else trace.trace_hex)
        session.mail.put_nowait(answer)
        if session.tracks is not None:
            session.tracks.tell()

    def _track_ended(self, session: Session, event: TrackEnded) -> None:
        """Have the door write it, behind the answers that were handed out before it."""
        self._observer.track_ended(event.cause)
        session.mail.put_nowait(event)

    def _too_slow(self, effect: SetAside[FrameJob] | GiveUpStaging[FrameJob]) -> None:
        flow, trace = effect.payload.agreement.terms.flow, trace_field(effect.payload.trace)
        match effect:
            case SetAside():
                self._dispatch.set_aside(effect.frame)
                log.warning("staging_slow", client=flow.client, camera_id=flow.camera_id, **trace)
            case GiveUpStaging():
                self._dispatch.give_up(effect.frame)
                log.error("staging_given_up", client=flow.client, camera_id=flow.camera_id, **trace)
            case _:
                assert_never(effect)

    def _report(self, effect: BatchFailed | EngineDied) -> None:
        name = self._at_work[effect.model].name
        match effect:
            case BatchFailed():
                self._observer.batch_failed(effect.model)
                log.warning("batch_failed", model=name, size=effect.size, retried=effect.retried, error=effect.message)
            case EngineDied():
                log.error("engine_lost", model=name, error=effect.message)
                self._at_work.lost(effect.model, effect.running)
                self._die(f"{name}: {effect.message}")
            case _:
                assert_never(effect)

    def _die(self, why: str) -> None:
        if not self.engine_died.done():
            self.engine_died.set_result(why)

    def _gate(self, session: Session) -> None:
        if not self._scheduler.readable(session.key):
            session.readable.clear()

    def _on_timer(self) -> None:
        self._carry_out(self._scheduler.on_timer(time.monotonic_ns()))

    # What comes of what threads do.

    def _staging_ended(self, key: FrameKey, ended: Staging, spent_ns: int) -> None:
        now = time.monotonic_ns()
        match ended:
            case Staged():
                self._carry_out(self._scheduler.frame_staged(key, now, ended.invalid, spent_ns=spent_ns))
            case FrameFault():
                self._carry_out(self._scheduler.frame_staging_failed(key, ended, now, spent_ns=spent_ns))
            case Lost():
                for index in self._at_work.open:
                    self._carry_out(self._scheduler.engine_lost(index, ended.message, now))
                fault = FrameFault(reason=FaultReason.ENGINE_LOST, message=ended.message)
                self._carry_out(self._scheduler.frame_staging_failed(key, fault, now))
            case _:
                assert_never(ended)

    def _batch_ended(self, model: ModelIndex, batch: BatchKey, ended: Embedding) -> None:
        now = time.monotonic_ns()
        match ended:
            case Embedded():
                self._carry_out(self._scheduler.batch_done(model, batch, now))
            case Failed():
                self._carry_out(self._scheduler.batch_failed(model, batch, ended.message, now))
            case Lost():
                self._carry_out(self._scheduler.engine_lost(model, ended.message, now))
                self._carry_out(self._scheduler.batch_failed(model, batch, ended.message, now))
            case _:
                assert_never(ended)

    def _worker_failed(self, error: BaseException) -> None:
        self._wakeups.from_thread(self._failed, error)

    def _failed(self, error: BaseException) -> None:
        log.failure("runtime_failed", error)
        self._die(f"the runtime failed: {type(error).__name__}")
