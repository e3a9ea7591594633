"""Drives the scheduler: its only caller, on one event loop.

Every effect is carried out here, in order: frames go to staging threads, batches to inference threads, answers to
their session's mailbox. Nobody
polls: a staged frame, a finished batch, a timer or a message wakes the loop once.

Trap: the methods are called on the event loop only. Threads come back through `loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVarTuple, Unpack, assert_never


from reidstream_engines.errors import EngineLost, EnginesError, ImageError, UnsupportedImage
from reidstream_engines.protocol import Stager
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
    SchedulerLimits,
    SessionKey,
)
from reidstream_server.logs import get_logger

from .agreement import Agreement
from .job import FrameJob
from .models import ModelTable

log = get_logger(__name__)

Ts = TypeVarTuple("Ts")

JobEffect = Effect[FrameJob]
JobAnswer = Answer[FrameJob]


class Observer(Protocol):
    """Is told what happens, for the metrics. Called on the event loop."""

    def answered(self, answer: JobAnswer, now_ns: int) -> None:
        """An answer was handed to its session."""
        ...

    def batch_started(self, model: ModelIndex, size: int) -> None:
        """A batch was handed to its engine."""
        ...

    def batch_failed(self, model: ModelIndex) -> None:
        """An engine raised."""
        ...

    def session_ended(self, cause: EndCause | None) -> None:
        """A session is over; None when its client vanished."""
        ...


Outgoing = JobAnswer | SendDrain | End


@dataclass(slots=True, eq=False)
class Session:
    """A transport's end of a session. `mail` holds what to write, in order; `readable` is set while messages may be
    read.
    """

    key: SessionKey
    agreement: Agreement
    mail: asyncio.Queue[Outgoing] = field(default_factory=asyncio.Queue)
    readable: asyncio.Event = field(default_factory=asyncio.Event)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)


class Runtime:
    """See the module. Open it with `async with`; closing waits for the threads."""

    def __init__(
        self,
        limits: SchedulerLimits,
        models: ModelTable,
        stager: Stager,
        observer: Observer,
    ) -> None:
        self._scheduler: Scheduler[FrameJob] = Scheduler(limits)
        self._models = models
        self._stager = stager
        self._observer = observer
        self._sessions: dict[SessionKey, Session] = {}
        self._staging = ThreadPoolExecutor(limits.staging_slots, thread_name_prefix="staging")
        self._inference = [
            ThreadPoolExecutor(model.engine.limits.slots, thread_name_prefix=f"inference-{model.name}")
            for model in models.models
        ]
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns: int | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.engine_died: asyncio.Future[str] = self._loop.create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for key in list(self._sessions):
            self.session_lost(key)
        if self._timer is not None:
            self._timer.cancel()
        wait = not self.engine_died.done()  # a batch that never returns must not keep the process
        await asyncio.to_thread(self._staging.shutdown, wait=wait)
        for pool in self._inference:
            await asyncio.to_thread(pool.shutdown, wait=wait)
        if not self.engine_died.done():
            self.engine_died.cancel()

    # What transports call.

    def open_session(self, agreement: Agreement) -> Session:
        """Begin a session."""
        key = self._scheduler.open_session(agreement.terms)
        session = Session(key, agreement)
        session.readable.set()
        self._sessions[key] = session
        self._idle.clear()
        return session

    def frame_arrived(self, session: Session, request: FrameRequest, job: FrameJob) -> None:
        """A frame was read and understood."""
        now = time.monotonic_ns()
        self._carry_out(self._scheduler.frame_arrived(session.key, request, job, now))
        self._gate(session)

    def frame_refused(self, session: Session, frame_id: int, fault: FrameFault) -> None:
        """A frame was read and is answered with a fault."""
        self._carry_out(self._scheduler.frame_refused(session.key, frame_id, fault, time.monotonic_ns()))
        self._gate(session)

    def half_closed(self, session: Session) -> None:
        """The client sends no more."""
        self._carry_out(self._scheduler.half_closed(session.key, time.monotonic_ns()))

    def answer_written(self, session: Session) -> None:
        """The transport took the session's oldest unwritten answer."""
        self._carry_out(self._scheduler.answer_written(session.key, time.monotonic_ns()))

    def session_lost(self, key: SessionKey) -> None:
        """The client is gone, or its call was ended; harmless for a session that is over."""
        if self._sessions.pop(key, None) is not None:
            self._observer.session_ended(None)
            self._carry_out(self._scheduler.session_lost(key, time.monotonic_ns()))
            self._note_idle()

    async def drain(self, reason: DrainReason, timeout_s: float) -> bool:
        """Ask every session to leave and wait until all are over; False if some were not in time."""
        now = time.monotonic_ns()
        for key in list(self._sessions):
            self._carry_out(self._scheduler.drain(key, reason, now + int(timeout_s * 1e9), now))
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

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
                    self._staging.submit(self._stage, effect.frame, effect.payload)
                case Run():
                    self._observer.batch_started(effect.model, len(effect.crops))
                    self._inference[effect.model].submit(self._run, effect.model, effect.batch, effect.crops)
                case Release():
                    effect.payload.release()
                case Answer() | SendDrain() | End() | Readable():
                    self._tell_session(effect)
                case BatchFailed() | EngineDied():
                    self._report(effect)
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
        name = self._models[effect.model].name
        match effect:
            case BatchFailed():
                self._observer.batch_failed(effect.model)
                log.warning("batch_failed", model=name, size=effect.size, retried=effect.retried, error=effect.message)
            case EngineDied():
                log.error("engine_lost", model=name, error=effect.message)
                if not self.engine_died.done():
                    self.engine_died.set_result(f"{name}: {effect.message}")
            case _:
                assert_never(effect)

    def _note_idle(self) -> None:
        if not self._sessions:
            self._idle.set()

    def _gate(self, session: Session) -> None:
        if not self._scheduler.readable(session.key):
            session.readable.clear()

    # Timers.

    def _arm_timer(self) -> None:
        due = self._scheduler.next_timer_ns()
        if due == self._timer_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_ns = due
        if due is not None:
            self._timer = self._loop.call_at(due / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_ns = None
        self._carry_out(self._scheduler.on_timer(time.monotonic_ns()))

    # Staging threads.

    def _stage(self, key: FrameKey, job: FrameJob) -> None:
        try:
            invalid = job.stage(self._stager)
        except ImageError as error:
            job.release()
            reason = FaultReason.UNSUPPORTED_IMAGE if isinstance(error, UnsupportedImage) else FaultReason.INVALID_IMAGE
            self._back(self._staging_failed, key, FrameFault(reason=reason, message=str(error)))
        except EngineLost as error:
            job.release()
            self._back(self._device_lost, key, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the frame is answered and the server goes on
            job.release()
            log.failure("staging_failed", error)
            fault = FrameFault(reason=FaultReason.INTERNAL, message="the frame could not be staged")
            self._back(self._staging_failed, key, fault)
        else:
            self._back(self._staged, key, invalid)

    def _staged(self, key: FrameKey, invalid: frozenset[int]) -> None:
        self._carry_out(self._scheduler.frame_staged(key, time.monotonic_ns(), invalid))

    def _staging_failed(self, key: FrameKey, fault: FrameFault) -> None:
        self._carry_out(self._scheduler.frame_staging_failed(key, fault, time.monotonic_ns()))

    def _device_lost(self, key: FrameKey, message: str) -> None:
        for model in self._models.models:
            self._carry_out(self._scheduler.engine_lost(model.index, message, time.monotonic_ns()))
        self._staging_failed(key, FrameFault(reason=FaultReason.ENGINE_LOST, message=message))

    # Inference threads.

    def _run(self, model: ModelIndex, batch: BatchKey, crops: tuple[CropRef[FrameJob], ...]) -> None:
        engine = self._models[model].engine
        try:
            rows = engine.submit([ref.payload.crop(ref.index) for ref in crops]).result()
            for ref, row in zip(crops, rows, strict=True):
                ref.payload.store(ref.index, row)
        except EngineLost as error:
            self._back(self._engine_lost, model, batch, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this batch's
            if not isinstance(error, EnginesError):
                log.failure("engine_raised", error, model=engine.spec.name)
            self._back(self._batch_failed, model, batch, str(error) or repr(error))
        else:
            self._back(self._batch_done, model, batch)

    def _batch_done(self, model: ModelIndex, batch: BatchKey) -> None:
        self._carry_out(self._scheduler.batch_done(model, batch, time.monotonic_ns()))

    def _batch_failed(self, model: ModelIndex, batch: BatchKey, message: str) -> None:
        self._carry_out(self._scheduler.batch_failed(model, batch, message, time.monotonic_ns()))

    def _engine_lost(self, model: ModelIndex, batch: BatchKey, message: str) -> None:
        now = time.monotonic_ns()
        self._carry_out(self._scheduler.engine_lost(model, message, now))
        self._carry_out(self._scheduler.batch_failed(model, batch, message, now))

    def _back(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """From a thread to the event loop. A loop that is closed has nobody left to tell."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(event, *arguments)
