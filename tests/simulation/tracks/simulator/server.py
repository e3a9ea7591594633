"""One server: the real scheduler, and the real memory of tracks around it, as the runtime puts them together.

A decoder and an engine that take their time, one thing at a time. Trap: what the runtime does between the two is done
here again, in fewer words; the tests of the runtime check that it does the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from reidstream_server.core.effects import Answer, Effect, End, EndCause, Readable, Run, SendDrain, Stage
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.terms import (
    BatchKey,
    DrainReason,
    Flow,
    FrameKey,
    FrameRequest,
    ModelIndex,
    ModelTerms,
    Ordering,
    Priority,
    SchedulerLimits,
    SessionKey,
    SessionTerms,
    Window,
)
from reidstream_server.tracks.memory import RowKind, TrackMemory
from reidstream_server.tracks.room import TrackRoom
from reidstream_server.tracks.rows import TrackRow, Vector
from reidstream_server.tracks.sighting import Sighting
from reidstream_server.tracks.track import FrameTracks, SightedBox, Snapshot, TrackEnded

from .books import Account, Books, check
from .plan import DIMS, MS, ClientPlan, FramePlan, FrameTrouble, Scenario
from .rows import row_of
from .wire import BoxAnswer, DrainMessage, EndOfStream, FrameAnswer, Outcome, Told

_BAD_PICTURE = FrameFault(reason=FaultReason.INVALID_IMAGE, message="no picture")
_HUGE = 10**12


class Clock(Protocol):
    """Virtual time."""

    now: int

    def at(self, when: int, what: Callable[[], None]) -> None:
        """Have it done then."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """A frame on its way. `tracks`: None if nothing was decided about it."""

    plan: FramePlan
    crops: tuple[int, ...]
    tracks: FrameTracks | None
    answer: FrameAnswer | None = None


Mail: TypeAlias = tuple[Told, Callable[[], None]]
"""What a client is told next, and what is done when it has taken it."""


@dataclass(slots=True, eq=False, kw_only=True)
class ServedSession:
    """A session at this server. `inbox`: what its client has sent and nobody has read. `gone`: its stream is cut."""

    key: SessionKey
    plan: ClientPlan
    memory: TrackMemory
    books: Books
    tell: Callable[[Told], None]
    inbox: deque[Callable[[], None]] = field(default_factory=deque)
    mail: deque[Mail] = field(default_factory=deque)
    writing: bool = False
    leaving: bool = False
    half_closed: bool = False
    gone: bool = False


class Server:
    """`checks`: how often the memory was compared with the books."""

    def __init__(self, clock: Clock, scenario: Scenario) -> None:
        self.checks = 0
        self._clock = clock
        self._scenario = scenario
        self._scheduler: Scheduler[Job] = Scheduler(_limits())
        for number in range(len(DIMS)):
            self._scheduler.add_model(ModelTerms(name=f"model {number}", max_batch=3, slots=1, cores=1))
        self.room = TrackRoom(scenario.bounds)
        self.account = Account(scenario.bounds.max_tracks, scenario.bounds.max_bytes)
        self.sessions: dict[SessionKey, ServedSession] = {}

    # What clients do.

    def open(self, plan: ClientPlan, snapshots: Sequence[Snapshot], tell: Callable[[Told], None]) -> ServedSession:
        """A stream opens."""
        terms = SessionTerms(
            flow=Flow(client="client", camera_id=f"camera {plan.number}"),
            source=f"client {plan.number}",
            priority=Priority.NORMAL,
            ordering=Ordering.IN_ORDER,
            overload_policy=plan.policy,
            window=Window(frames=plan.window, bytes=_HUGE),
            latency_budget_ns=plan.budget_ns,
            models=frozenset(ModelIndex(number) for number in range(len(DIMS))),
        )
        key = self._scheduler.open_session(terms)
        kinds = {ModelIndex(number): RowKind(dim=dim, unit=True) for number, dim in enumerate(DIMS)}
        memory = TrackMemory(plan.terms, kinds, self.room, key)
        session = ServedSession(
            key=key, plan=plan, memory=memory, books=Books(int(key), plan.terms, self.account), tell=tell
        )
        self.sessions[key] = session
        memory.adopt(snapshots, self._clock.now)
        session.books.opened(snapshots, self._clock.now)
        self._told(session)
        return session

    def send(self, session: ServedSession, what: Callable[[], None]) -> None:
        """A message has come; it is read when it may be."""
        session.inbox.append(what)
        self._read(session)

    def frame(self, session: ServedSession, frame: FramePlan, sent_ns: int) -> None:
        """A frame is read."""
        now = self._clock.now
        age = sent_ns - frame.captured_ns
        if frame.trouble is FrameTrouble.REFUSED:
            if not session.leaving and session.memory.takes(frame.frame_id):
                session.memory.passed(frame.frame_id)
                session.books.passed(frame.frame_id)
            self._carry_out(self._scheduler.frame_refused(session.key, frame.frame_id, _BAD_PICTURE, now))
            return
        tracks: FrameTracks | None = None
        if not session.leaving and session.memory.takes(frame.frame_id):
            boxes = [
                SightedBox(
                    index=index,
                    model=ModelIndex(box.model),
                    seen=Sighting(track_id=box.track_id, rect=box.rect, quality=box.quality, overlap=box.overlap),
                )
                for index, box in enumerate(frame.boxes)
                if box.track_id is not None
            ]
            tracks = session.memory.decide(frame.frame_id, boxes, taken_ns=now - age, now=now)
            session.books.arrived(frame, now - age, now, tracks)
            self._told(session)
        cached = frozenset() if tracks is None else tracks.cached
        crops = tuple(index for index in range(len(frame.boxes)) if index not in cached)
        request = FrameRequest(
            frame_id=frame.frame_id,
            message_bytes=100,
            staged_bytes=100,
            answer_bytes=100,
            staging_ns=self._scenario.staging_ns,
            age_ns=age,
            crops=tuple(ModelIndex(frame.boxes[index].model) for index in crops),
        )
        job = Job(plan=frame, crops=crops, tracks=tracks)
        self._carry_out(self._scheduler.frame_arrived(session.key, request, job, now))

    def end_tracks(self, session: ServedSession, track_ids: Sequence[int]) -> None:
        """EndTracks is read."""
        if not session.leaving:
            session.memory.end(track_ids)
            session.books.end_tracks(track_ids)
            self._told(session)

    def half_close(self, session: ServedSession) -> None:
        """The client sends no more."""
        session.half_closed = not session.leaving
        self._carry_out(self._scheduler.half_closed(session.key, self._clock.now))

    def cut(self, session: ServedSession) -> None:
        """The stream is gone."""
        if session.gone:
            return
        self._close(session)
        self._carry_out(self._scheduler.session_lost(session.key, self._clock.now))

    def drain(self, session: ServedSession, deadline_ns: int) -> None:
        """Ask a session to leave."""
        now = self._clock.now
        self._carry_out(self._scheduler.drain(session.key, DrainReason.SHUTDOWN, now + deadline_ns, now))

    # Time.

    def due_ns(self) -> int | None:
        """When `on_timer` must be called."""
        dues = [self._scheduler.next_timer_ns()]
        dues += [one.memory.due_ns() for one in self.sessions.values() if not one.leaving]
        return min((due for due in dues if due is not None), default=None)

    def on_timer(self) -> None:
        """Time has passed."""
        now = self._clock.now
        for session in list(self.sessions.values()):
            if not session.leaving:
                check("due", session.memory.due_ns() == session.books.due_ns(), session.books.due_ns())
                session.memory.time_out(now)
                session.books.timed_out(now)
                self._told(session)
        self._carry_out(self._scheduler.on_timer(now))

    # What the scheduler wants.

    def _carry_out(self, effects: Sequence[Effect[Job]]) -> None:
        now = self._clock.now
        for effect in effects:
            match effect:
                case Stage():
                    self._clock.at(now + self._scenario.staging_ns, self._staged(effect.frame, effect.payload))
                case Run():
                    crops = tuple((crop.payload, crop.index) for crop in effect.crops)
                    self._clock.at(now + self._scenario.batch_ns, self._ran(effect.model, effect.batch, crops))
                case Answer():
                    self._answer(effect)
                case SendDrain():
                    self._leave(effect)
                case End():
                    self._end(effect)
                case Readable():
                    session = self.sessions.get(effect.session)
                    if session is not None:
                        self._clock.at(now, lambda session=session: self._read(session))  # type: ignore[misc]
                case _:
                    pass

    def _staged(self, key: FrameKey, job: Job) -> Callable[[], None]:
        def done() -> None:
            if job.plan.trouble is FrameTrouble.UNDECODABLE:
                self._carry_out(self._scheduler.frame_staging_failed(key, _BAD_PICTURE, self._clock.now))
            else:
                self._carry_out(self._scheduler.frame_staged(key, self._clock.now))

        return done

    def _ran(self, model: ModelIndex, batch: BatchKey, crops: Sequence[tuple[Job, int]]) -> Callable[[], None]:
        def done() -> None:
            if any(job.plan.boxes[job.crops[index]].poison for job, index in crops):
                self._carry_out(self._scheduler.batch_failed(model, batch, "poison", self._clock.now))
            else:
                self._carry_out(self._scheduler.batch_done(model, batch, self._clock.now))

        return done

    def _answer(self, effect: Answer[Job]) -> None:
        session = self.sessions.get(effect.session)
        if session is None or session.gone:
            return
        job = effect.payload
        held = 0 if job is None or job.tracks is None else job.tracks.held_bytes
        answer = self._told_of(session, effect)

        def written() -> None:
            if job is not None and job.tracks is not None and effect.fault is None:
                session.memory.answer_written(job.tracks)
                session.books.written(held)
            self._carry_out(self._scheduler.answer_written(session.key, self._clock.now))

        session.mail.append((answer, written))
        self._told(session)
        self._write(session)

    def _told_of(self, session: ServedSession, effect: Answer[Job]) -> FrameAnswer:
        """The answer as its client gets it, complete."""
        job, memory, books = effect.payload, session.memory, session.books
        if job is None:
            return FrameAnswer(frame_id=effect.frame_id, fault=None if effect.fault is None else effect.fault.reason)
        tracked = frozenset() if job.tracks is None else frozenset(box.index for box in job.tracks.boxes)
        if effect.fault is not None:
            if job.tracks is not None:
                held = job.tracks.held_bytes
                memory.failed(job.tracks)
                books.failed(effect.frame_id, job.tracks, held)
            vain = tuple(sorted(tracked))
            return FrameAnswer(frame_id=effect.frame_id, fault=effect.fault.reason, tracked_in_vain=vain)
        rows: dict[int, Vector | None] = {}
        for index, outcome in zip(job.crops, effect.outcomes, strict=True):
            embedded = outcome is CropOutcome.EMBEDDED
            model = job.plan.boxes[index].model
            rows[index] = row_of(session.plan.number, effect.frame_id, index, model) if embedded else None
        kept: dict[int, TrackRow] = {}
        if job.tracks is not None:
            kept = dict(memory.answered(job.tracks, rows.__getitem__))
            books.answered(effect.frame_id, rows, kept, job.tracks)
        boxes = tuple(
            _box_answer(index, rows, kept, tracked=index in tracked, quality=box.quality)
            for index, box in enumerate(job.plan.boxes)
        )
        snapshots = () if job.tracks is None else job.tracks.snapshots
        return FrameAnswer(frame_id=effect.frame_id, fault=None, boxes=boxes, snapshots=snapshots)

    def _leave(self, effect: SendDrain) -> None:
        session = self.sessions.get(effect.session)
        if session is None or session.gone:
            return
        session.leaving = True
        snapshots = session.memory.open_tracks()
        session.books.check_open_tracks(snapshots)
        message = DrainMessage(last_accepted=effect.last_accepted_frame_id, open_tracks=snapshots)
        session.mail.append((message, lambda: None))
        self._write(session)

    def _end(self, effect: End) -> None:
        session = self.sessions.get(effect.session)
        if session is None or session.gone:
            return
        check("stalled", effect.cause is not EndCause.STALLED, "a client that reads was given up")
        if session.half_closed and effect.cause is EndCause.FINISHED:
            session.memory.finish()
            session.books.finished()
            self._told(session)

        def over() -> None:
            self._close(session)

        session.mail.append((EndOfStream(), over))
        self._write(session)

    # Between the memory and the client.

    def _told(self, session: ServedSession) -> None:
        """Have what has ended told, and compare."""
        ended, session.memory.ended = session.memory.ended, []
        session.books.check_told(ended)
        for one in ended:
            session.mail.append((one, self._end_written(session, one)))
        self._compare(session)
        self._write(session)

    def _end_written(self, session: ServedSession, ended: TrackEnded) -> Callable[[], None]:
        def written() -> None:
            session.memory.written(ended)
            session.books.end_written(ended)
            session.books.release(ended)
            self._compare(session)

        return written

    def _compare(self, session: ServedSession) -> None:
        self.checks += 1
        memory, books, account = session.memory, session.books, self.account
        check("open tracks", memory.open == len(books.open), f"{memory.open}, not {len(books.open)}")
        held = sum(life.held for life in books.lives)
        check("held tracks", memory.held == held, f"{memory.held}, not {held}")
        most = self._scenario.bounds.max_tracks
        check("bound of tracks", memory.open <= most, memory.open)
        taken = self.room.tracks.taken
        check("track bytes", taken == sum(account.tracks.held.values()), f"{taken}, not {account.tracks.held}")
        taken = self.room.answers.taken
        check("answer bytes", taken == sum(account.answers.held.values()), f"{taken}, not {account.answers.held}")
        check("bound of bytes", self.room.answers.taken <= self.room.answers.most, taken)
        everybody = sum(len(one.books.open) for one in self.sessions.values() if not one.gone)
        check("open tracks of all", self.room.open == everybody, f"{self.room.open}, not {everybody}")

    def _read(self, session: ServedSession) -> None:
        while session.inbox and not session.gone and self._scheduler.readable(session.key):
            session.inbox.popleft()()

    def _write(self, session: ServedSession) -> None:
        if session.writing or session.gone or not session.mail:
            return
        session.writing = True
        self._clock.at(self._clock.now + session.plan.read_ns, lambda: self._wrote(session))

    def _wrote(self, session: ServedSession) -> None:
        session.writing = False
        if session.gone:
            return
        told, then = session.mail.popleft()
        then()
        session.tell(told)
        self._write(session)

    def _close(self, session: ServedSession) -> None:
        session.gone = True
        del self.sessions[session.key]
        session.memory.close()
        session.memory.close()
        session.books.closed()
        check("track bytes", self.room.tracks.of(session.key) == 0, "held by a session that is over")
        check("answer bytes", self.room.answers.of(session.key) == 0, "held by a session that is over")
        everybody = sum(len(one.books.open) for one in self.sessions.values())
        check("open tracks of all", self.room.open == everybody, f"{self.room.open}, not {everybody}")


def _box_answer(
    index: int, rows: dict[int, Vector | None], kept: dict[int, TrackRow], *, tracked: bool, quality: float
) -> BoxAnswer:
    if index in rows:
        row = rows[index]
        outcome = Outcome.FAILED if row is None else Outcome.EMBEDDED
        return BoxAnswer(outcome=outcome, tracked=tracked, row=row, quality=quality)
    if (found := kept.get(index)) is None:
        return BoxAnswer(outcome=Outcome.SOURCE_LOST, tracked=tracked)
    return BoxAnswer(
        outcome=Outcome.CACHED,
        tracked=tracked,
        row=found.vector,
        quality=found.quality,
        source_frame_id=found.frame_id,
    )


def _limits() -> SchedulerLimits:
    return SchedulerLimits(
        staging_slots=2,
        cores=2,
        max_queue_boxes=10_000,
        max_queue_bytes=_HUGE,
        max_parked_bytes=_HUGE,
        max_staged_bytes=_HUGE,
        max_held_answer_bytes=_HUGE,
        heavy_boxes=1000,
        heavy_staging_ns=_HUGE,
        slow_staging_ns=_HUGE,
        staging_timeout_ns=_HUGE,
        quantum_boxes=8,
        max_source_turns=8,
        aging_ns=1000 * MS,
        high_at_once_ns=_HUGE,
        linger_ns=0,
        batch_timeout_ns=_HUGE,
        stall_timeout_ns=_HUGE,
    )
