"""Drives the scheduler: its only caller, on one event loop.

It carries out every effect, in order: frames go to staging threads, batches to inference threads, answers to their
session's mailbox. Nobody polls: a staged frame, a finished batch, a timer or a message wakes the loop once.

Trap: the methods are called on the event loop only. Threads come back through `loop.call_soon_threadsafe`. If the code
that they wake raises, somebody would wait for ever; so that ends the process, as a lost engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVarTuple, Unpack, assert_never

from reidstream_engines.protocol import Engine, Stager
from reidstream_server.core.effects import (
    Answer,
    BatchFailed,
    CropRef,
    Effect,
    End,
    EndCause,
    EngineDied,
    Readable,
    Release,
    Retired,
    Run,
    SendDrain,
    Stage,
)
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.statistics import SchedulerStatistics
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

from .agreement import Agreement
from .blocking import Embedded, Embedding, Failed, Lost, Staged, Staging, embed, stage
from .job import FrameJob
from .models import ModelTable, ServedModel
from .session import JobAnswer, Observer, Session, TrackEnded
from .statistics import SessionFigures
from .workers import Workers

log = get_logger(__name__)

Ts = TypeVarTuple("Ts")

JobEffect = Effect[FrameJob]

_THREADS_GRACE_S = 1.0


@dataclass(slots=True, eq=False)
class _AtWork:
    """A model with the threads that run its batches. `gone` is done when nothing of it is open any more."""

    model: ServedModel
    workers: Workers
    gone: asyncio.Future[None]


class Runtime:
    """See the module. Open it with `async with`; closing waits for the threads, but not for one that does not return.

    `models`: what new calls get; it begins empty. `engine_died`: done, with the reason, when the process must end.
    `stuck`: after closing, whether a thread still works.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        stager: Stager,
        observer: Observer,
    ) -> None:
        self._scheduler: Scheduler[FrameJob] = Scheduler(limits)
        self.models = ModelTable()
        self._stager = stager
        self._observer = observer
        self._sessions: dict[SessionKey, Session] = {}
        self._loop = asyncio.get_running_loop()
        self._staging = Workers(limits.staging_slots, "staging", self._worker_failed)
        self._at_work: dict[ModelIndex, _AtWork] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns: int | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = False
        self.engine_died: asyncio.Future[str] = self._loop.create_future()
        self.stuck = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for key in list(self._sessions):
            self.session_lost(key)
        self.stuck = not await asyncio.to_thread(self._close_workers) or self.stuck
        if self._timer is not None:
            self._timer.cancel()
        self.engine_died.cancel()
        for work in self._at_work.values():
            work.gone.cancel()

    def _close_workers(self) -> bool:
        deadline = time.monotonic() + _THREADS_GRACE_S
        everybody = (self._staging, *(work.workers for work in self._at_work.values()))
        ended = [workers.close(deadline - time.monotonic()) for workers in everybody]
        return all(ended)

    # Models.

    def add_model(self, engine: Engine) -> ServedModel:
        """Serve a warmed engine under its name. New calls get it at once, in the place of an older one of that name,
        which goes on for the sessions that have it until it is retired.
        """
        limits, name = engine.limits, engine.spec.name
        terms = ModelTerms(name=name, max_batch=limits.max_batch, slots=limits.slots, cores=limits.cores)
        model = ServedModel(index=self._scheduler.add_model(terms), engine=engine)
        workers = Workers(limits.slots, f"inference-{name}", self._worker_failed)
        self._at_work[model.index] = _AtWork(model, workers, self._loop.create_future())
        self._observer.model_added(model)
        self.models.add(model)
        return model

    async def retire_model(self, model: ServedModel) -> bool:
        """Give the model to no new call, and wait until every session that has it is over and its threads have ended;
        then its engine may be closed. False if a thread is still inside the engine, which must then stay open.

        Sessions end by themselves, or are asked to by `drain_session`. Cancelling waits no longer; the model stays
        withdrawn, and goes when the last of it is over.
        """
        work = self._at_work[model.index]
        self.models.withdraw(model)
        self._carry_out(self._scheduler.retire_model(model.index, time.monotonic_ns()))
        await asyncio.shield(work.gone)
        ended = await asyncio.to_thread(work.workers.close, _THREADS_GRACE_S)
        self.stuck = self.stuck or not ended
        return ended

    def _retired(self, index: ModelIndex) -> None:
        work = self._at_work.pop(index)
        work.workers.end()
        self._observer.model_retired(work.model)
        work.gone.set_result(None)

    # What doors call.

    @property
    def leaving(self) -> bool:
        """Whether the server is stopping: no door takes anything new, and what was accepted is answered."""
        return self._leaving

    def leave(self) -> None:
        """Take no new sessions from now on. A `drain` follows."""
        self._leaving = True

    def refuse_when_leaving(self) -> None:
        """Raises GoingAway. For doors that would read something large, or wait, before they open a session."""
        if self._leaving:
            raise GoingAway("the server is stopping; send the frames to another server")

    def open_session(self, agreement: Agreement) -> Session:
        """Begin a session. Raises GoingAway."""
        self.refuse_when_leaving()
        key = self._scheduler.open_session(agreement.terms)
        session = Session(key, agreement)
        session.readable.set()
        self._sessions[key] = session
        self._idle.clear()
        return session

    def frame_arrived(self, session: Session, request: FrameRequest, job: FrameJob) -> None:
        """A frame was read and understood."""
        now = time.monotonic_ns()
        session.counters.came(request.message_bytes)
        self._carry_out(self._scheduler.frame_arrived(session.key, request, job, now))
        self._gate(session)

    def frame_refused(self, session: Session, frame_id: int, fault: FrameFault) -> None:
        """A frame was read and is answered with a fault."""
        session.counters.came(0)
        self._carry_out(self._scheduler.frame_refused(session.key, frame_id, fault, time.monotonic_ns()))
        self._gate(session)

    def half_closed(self, session: Session) -> None:
        """The client sends no more."""
        self._carry_out(self._scheduler.half_closed(session.key, time.monotonic_ns()))

    def answer_written(self, session: Session, answer: JobAnswer) -> None:
        """The door has written the session's oldest unwritten answer, which is this one."""
        now = time.monotonic_ns()
        session.counters.written(answer.fault, answer.times, now)
        self._carry_out(self._scheduler.answer_written(session.key, now))

    def track_ended(self, session: Session, event: TrackEnded) -> None:
        """Have the door write an event, behind the answers that were handed out before it."""
        session.mail.put_nowait(event)

    def session_lost(self, key: SessionKey) -> None:
        """The client is gone, or its call has ended. Harmless for a session that is over."""
        if self._sessions.pop(key, None) is not None:
            self._observer.session_ended(None)
            self._carry_out(self._scheduler.session_lost(key, time.monotonic_ns()))
            self._note_idle()

    def drain_session(self, session: Session, reason: DrainReason, timeout_s: float) -> None:
        """Ask one session to leave."""
        now = time.monotonic_ns()
        self._carry_out(self._scheduler.drain(session.key, reason, now + int(timeout_s * 1e9), now))

    async def drain(self, reason: DrainReason, timeout_s: float) -> bool:
        """Ask every session to leave and wait until all are over; False if some were not in time."""
        deadline = time.monotonic_ns() + int(timeout_s * 1e9)
        for session in list(self._sessions.values()):
            self.drain_session(session, reason, timeout_s)
        if self._idle.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        # Past the deadline frames are given up, so sessions that were over by then prove nothing.
        return self._idle.is_set() and time.monotonic_ns() < deadline

    def session_figures(self, session: Session) -> SessionFigures:
        """A snapshot of one session, also of one that is over."""
        now = time.monotonic_ns()
        counters, terms = session.counters, session.agreement.terms
        held = self._scheduler.session_statistics(session.key)
        return SessionFigures(
            flow=terms.flow,
            seconds=(now - counters.began_ns) / 1e9,
            frames=counters.frames,
            bytes=counters.bytes,
            answered=counters.answered,
            faults=dict(counters.faults),
            rate_fps=counters.rate_fps(now),
            age_s=counters.age_s(),
            window=terms.window,
            window_frames=0 if held is None else held.window_frames,
            window_bytes=0 if held is None else held.window_bytes,
        )

    def sessions(self) -> Sequence[Session]:
        """Every session that is not over, the oldest first."""
        return tuple(self._sessions.values())

    @property
    def open_sessions(self) -> int:
        """Sessions that are not over."""
        return len(self._sessions)

    def statistics(self) -> SchedulerStatistics:
        """A snapshot of the scheduler."""
        return self._scheduler.statistics(time.monotonic_ns())

    # Effects.

    def _carry_out(self, effects: Sequence[JobEffect]) -> None:
        for effect in effects:
            match effect:
                case Stage():
                    self._begin_staging(effect.frame, effect.payload)
                case Run():
                    self._observer.batch_started(effect.model, len(effect.crops))
                    work = self._at_work[effect.model]
                    work.workers.submit(self._run, work.model, effect.batch, effect.crops)
                case Release():
                    effect.payload.release()
                case Answer() | SendDrain() | End() | Readable():
                    self._tell_session(effect)
                case BatchFailed() | EngineDied():
                    self._report(effect)
                case Retired():
                    self._retired(effect.model)
                case _:
                    assert_never(effect)
        self._arm_timer()

    def _tell_session(self, effect: JobAnswer | SendDrain | End | Readable) -> None:
        session = self._sessions.get(effect.session)
        if session is None:
            return
        match effect:
            case Answer():
                self._observer.answered(effect, time.monotonic_ns())
                session.mail.put_nowait(effect)
            case SendDrain():
                session.mail.put_nowait(effect)
            case Readable():
                session.readable.set()
            case End():
                del self._sessions[effect.session]
                self._observer.session_ended(effect.cause)
                if effect.cause is EndCause.STALLED:
                    session.stalled.set()
                session.mail.put_nowait(effect)
                self._note_idle()
            case _:
                assert_never(effect)

    def _report(self, effect: BatchFailed | EngineDied) -> None:
        name = self._at_work[effect.model].model.name
        match effect:
            case BatchFailed():
                self._observer.batch_failed(effect.model)
                log.warning("batch_failed", model=name, size=effect.size, retried=effect.retried, error=effect.message)
            case EngineDied():
                log.error("engine_lost", model=name, error=effect.message)
                self._die(f"{name}: {effect.message}")
            case _:
                assert_never(effect)

    def _die(self, why: str) -> None:
        if not self.engine_died.done():
            self.engine_died.set_result(why)

    def _note_idle(self) -> None:
        if not self._sessions:
            self._idle.set()

    def _gate(self, session: Session) -> None:
        if not self._scheduler.readable(session.key):
            session.readable.clear()

    # Timers.

    def _arm_timer(self) -> None:
        """Be woken when the next thing is due. Most deadlines move on before they come, so a timer that is armed for an
        earlier time stays: it wakes for nothing once, which costs less than a cancellation with every event.
        """
        due = self._scheduler.next_timer_ns()
        if due is None or (self._timer_ns is not None and self._timer_ns <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due
        self._timer = self._loop.call_at(due / 1e9, self._wake, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_ns = None
        self._carry_out(self._scheduler.on_timer(time.monotonic_ns()))

    # What threads do, and what comes of it.

    def _begin_staging(self, key: FrameKey, job: FrameJob) -> None:
        """In a thread; or on the loop, if a thread would cost more, but then after the effects of this event."""
        if job.instant(self._stager):
            self._loop.call_soon(self._wake, self._stage_here, key, job)
        else:
            self._staging.submit(self._stage, key, job)

    def _stage_here(self, key: FrameKey, job: FrameJob) -> None:
        self._staging_ended(key, stage(job, self._stager))

    def _stage(self, key: FrameKey, job: FrameJob) -> None:
        self._back(self._staging_ended, key, stage(job, self._stager))

    def _staging_ended(self, key: FrameKey, ended: Staging) -> None:
        now = time.monotonic_ns()
        match ended:
            case Staged():
                self._carry_out(self._scheduler.frame_staged(key, now, ended.invalid))
            case FrameFault():
                self._carry_out(self._scheduler.frame_staging_failed(key, ended, now))
            case Lost():
                for index in list(self._at_work):
                    self._carry_out(self._scheduler.engine_lost(index, ended.message, now))
                fault = FrameFault(reason=FaultReason.ENGINE_LOST, message=ended.message)
                self._carry_out(self._scheduler.frame_staging_failed(key, fault, now))
            case _:
                assert_never(ended)

    def _run(self, model: ServedModel, batch: BatchKey, crops: tuple[CropRef[FrameJob], ...]) -> None:
        self._back(self._batch_ended, model.index, batch, embed(model.engine, crops))

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

    # From threads to the event loop.

    def _back(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Wake the event loop. If it is closed, nobody is left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake, event, *arguments)

    def _wake(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Carry out an event. Nobody waits for it, so nobody else would see it fail."""
        try:
            event(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the state is not to be trusted any more
            self._failed(error)

    def _worker_failed(self, error: BaseException) -> None:
        self._back(self._failed, error)

    def _failed(self, error: BaseException) -> None:
        log.failure("runtime_failed", error)
        self._die(f"the runtime failed: {type(error).__name__}")
