"""The simulated service: carries effects out as the real runtime does, with engines and decoders that take virtual time
and fail as planned.

It reads a session's messages only while the session is readable; when it was not, only a `Readable` changes that. It
calls `answer_written` when the client has taken an answer, and `on_timer` when the core has asked for it. Trap: every
event goes through `_step`, so that no call of the scheduler escapes the rules.
"""

from __future__ import annotations

from collections import Counter, deque
from random import Random

from reidstream_server.core.effects import Answer, End, EngineDied, Readable, Retired, Run, SendDrain, Stage
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.terms import BatchKey, DrainReason, FrameKey, ModelIndex

from . import events
from .accounts import Accounts
from .administrator import Administrator
from .arrival_rule import before, judge, judge_refusals
from .audit import Audit
from .books import Books, ClientBook, FrameBook, Violation, lanes_of
from .clients import Client, Mail
from .mistakes import sends_in_vain
from .oracle import FrameEffect, Oracle
from .outcome import Outcome, Step
from .plan import MS, BatchFate, FramePlan, Scenario
from .probe import frame_state, leftovers, next_frame_key
from .reading_rule import Reading
from .situations import Situation
from .timeline import Timeline

ALL_STEPS = 100_000
_READ_NS = MS // 20
_REFUSED = FrameFault(reason=FaultReason.INVALID_ARGUMENT, message="not understood")
_UNDECODABLE = FrameFault(reason=FaultReason.INVALID_IMAGE, message="not decodable")
_DEVICE_LOST = FrameFault(reason=FaultReason.ENGINE_LOST, message="the device is lost")


class World:
    """One run of a scenario. `trace_steps`: how many steps are kept, the last ones."""

    def __init__(self, scenario: Scenario, *, trace_steps: int = 40) -> None:
        self._scenario = scenario
        self._rng = Random(scenario.seed)  # noqa: S311 - it must be repeatable
        self._timeline = Timeline(min(client.opens_ns for client in scenario.clients))
        self._scheduler: Scheduler[FrameBook] = Scheduler(scenario.limits)
        self._scheduler._sources._most_gone = scenario.remembered
        lanes = lanes_of(scenario)
        self._books = Books(scenario, self._scheduler, Counter(), lanes, Accounts(scenario.remembered))
        self._oracle = Oracle(self._books)
        self._audit = Audit(self._books)
        self._reading = Reading(self._books)
        self._administrator = Administrator(self._books, self._timeline, note=self._note, step=self._step)
        self._trace: deque[Step] = deque(maxlen=trace_steps)
        self._steps = 0
        self._timer_ns: int | None = None
        self._staged = 0
        self._loop_free_ns = 0
        self._to_read: deque[Client] = deque()
        self._closing = False
        self._clients = [
            Client(ClientBook(plan, number, lane), self, self._timeline)
            for number, (plan, lane) in enumerate(zip(scenario.clients, lanes, strict=True))
        ]
        self._by_book = {client.book: client for client in self._clients}
        self._fleeting = [client for client in self._clients if client.book.plan.vanishes_when is not None]

    def run(self, *, until_ns: int | None = None) -> Outcome:
        """Let everything happen, until nothing does any more; or until some time, when much may still be open."""
        start = self._timeline.now
        violation: Violation | None = None
        try:
            self._administrator.start()
            for client in self._clients:
                client.start()
            for drain in self._scenario.drains:
                self._timeline.at(drain.at_ns, self._drain, drain.client, drain.allowed_ns)
            while self._timeline.advance():
                if until_ns is not None and self._timeline.now >= until_ns:
                    break
            else:
                self._finish()
        except Violation as found:
            violation = found
        except Exception as error:  # noqa: BLE001 - whatever the core raises is what we are looking for
            violation = Violation("crash", repr(error))
            violation.__cause__ = error
        return Outcome(
            scenario=self._scenario,
            violation=violation,
            steps=self._steps,
            frames=self._books.frames_told,
            checks=self._books.checks + self._audit.checks,
            virtual_ns=self._timeline.now - start,
            seen=self._books.seen,
            trace=list(self._trace),
        )

    # What clients call.

    def open(self, client: Client) -> None:
        """A stream was opened, unless the service is stopping, or does not serve what it names."""
        book = client.book
        terms = None if self._closing else self._administrator.terms_for(book)
        if terms is None:
            return
        shared = any(other.known and other.flow == book.flow for other in self._books.clients.values())
        self._books.seen[Situation.CAMERA_SHARED] += shared
        book.key = self._scheduler.open_session(terms)
        self._books.seen[Situation.CAME_BACK_OWING] += self._books.accounts.opened(terms.source, self._timeline.now)
        book.gate = self._scheduler.readable(book.key)
        self._books.clients[book.key] = book

    def read(self, client: Client) -> None:
        """Read the next message, if there is one and the session may be read."""
        if client.inbox and client.book.gate and not client.reading and client.book.known and not client.gone:
            client.reading = True
            self._timeline.at(self._timeline.now + _READ_NS, self._ready, client)

    def taken(self, client: Client, item: Mail) -> None:
        """The client took an answer, or something else that the scheduler need not know."""
        book, now = client.book, self._timeline.now
        if isinstance(item, Answer) and book.known and book.key is not None:
            events.told_written(self._books, book, now)
            self._step("answer_written", book, self._scheduler.answer_written(book.key, now))

    def vanish(self, client: Client) -> None:
        """The client's connection broke."""
        if client.book.key is not None:
            events.told_lost(self._books, client.book)
            self._step("session_lost", client.book, self._scheduler.session_lost(client.book.key, self._timeline.now))

    # The shell.

    def _note(self, event: str, subject: object, effects: list[FrameEffect]) -> None:
        self._steps += 1
        self._trace.append(Step(at_ns=self._timeline.now, event=event, subject=subject, effects=effects))

    def _step(self, event: str, subject: object, effects: list[FrameEffect]) -> None:
        now = self._timeline.now
        self._note(event, subject, effects)
        self._reading.settle(effects, now)
        for effect in effects:
            self._oracle.effect(effect, now, event)
            self._carry_out(effect)
        self._audit.step(now)
        self._reading.check(now)
        if self._steps >= ALL_STEPS:
            raise Violation("nothing hangs", f"still busy after {ALL_STEPS} events")
        self._arm_timer()
        self._administrator.look()
        for client in self._fleeting:
            if client.book.has_come_to_vanish:
                self._timeline.at(now, client.vanish)

    def _carry_out(self, effect: FrameEffect) -> None:
        match effect:
            case Stage():
                self._stage(effect.frame, effect.payload)
            case Run():
                self._run(effect)
            case Answer() | SendDrain() | End():
                self._by_book[self._books.clients[effect.session]].deliver(effect)
            case Readable():
                client = self._by_book[self._books.clients[effect.session]]
                client.book.gate = True
                self.read(client)
            case EngineDied():
                if self._scenario.stops_when_engine_dies:
                    self._timeline.at(self._timeline.now + 5 * MS, self._drain, None, 50 * MS)
            case Retired():
                self._administrator.gone(effect.model)
            case _:
                pass

    def _ready(self, client: Client) -> None:
        """The event loop will read its message after those that came before."""
        self._to_read.append(client)
        if len(self._to_read) == 1:
            self._timeline.at(max(self._timeline.now, self._loop_free_ns), self._loop)

    def _loop(self) -> None:
        self._read(self._to_read.popleft())
        if self._to_read:
            self._timeline.at(max(self._timeline.now, self._loop_free_ns), self._loop)

    def _read(self, client: Client) -> None:
        client.reading = False
        book, now = client.book, self._timeline.now
        if not book.known or book.key is None or client.gone:
            return
        plan = client.inbox.popleft()
        if plan is None:
            book.half_closed = True
            self._books.seen[Situation.HALF_CLOSED_OPEN] += bool(book.unanswered)
            self._step("half_closed", book, self._scheduler.half_closed(book.key, now))
        else:
            self._frame(client, plan)
        if not self._scheduler.readable(book.key):
            client.book.gate = False
        self.read(client)

    def _frame(self, client: Client, plan: FramePlan) -> None:
        book, now, key = client.book, self._timeline.now, next_frame_key(self._scheduler)
        assert book.key is not None
        was = before(self._books, book, plan, now)
        frame = events.told_of_frame(self._books, book, plan, now)
        others_first = frame is not None and self._audit.parking.others_first(frame)
        payload = frame or FrameBook(book, plan, 0, now, None, False, (), [], 0, book.lanes[0])
        self._loop_free_ns = now + plan.reading_ns  # nothing else is read meanwhile
        if plan.refused:
            effects = self._scheduler.frame_refused(book.key, plan.frame_id, _REFUSED, now, spent_ns=plan.reading_ns)
        else:
            request = plan.request(tuple(book.models[name] for name in plan.crops))
            if plan is book.plan.frames[0]:
                sends_in_vain(self._books, book, request, payload, now)
            effects = self._scheduler.frame_arrived(book.key, request, payload, now, spent_ns=plan.reading_ns)
        if frame is not None:
            frame.view = frame_state(self._scheduler, book.key, key)
            events.told_refused(self._books, frame, effects, now)
        self._step("frame", plan if frame is None else frame, effects)
        if frame is not None and book.known:
            judge(was, frame, now, self._books.seen, others_first=others_first)
            judge_refusals(was, frame, self._scheduler.statistics(now).refusals)

    def _drain(self, number: int | None, allowed_ns: int) -> None:
        now = self._timeline.now
        if number is None:
            self._closing = True
        reason = DrainReason.SHUTDOWN if number is None else DrainReason.CONNECTION_AGE
        for client in self._clients:
            book = client.book
            if book.over or book.key is None or number not in (None, book.number):
                continue
            deadline = now + allowed_ns
            self._books.seen[Situation.DRAINED_TWICE] += book.drain_ns is not None and deadline < book.drain_ns
            book.drain_ns = deadline if book.drain_ns is None else min(book.drain_ns, deadline)
            self._step("drain", book, self._scheduler.drain(book.key, reason, deadline, now))

    def _arm_timer(self) -> None:
        due = self._scheduler.next_timer_ns()
        if due is not None and due != self._timer_ns:
            self._timeline.at(due + self._scenario.timer_lag_ns, self._on_timer, due)
        self._timer_ns = due

    def _on_timer(self, due: int) -> None:
        if due == self._timer_ns:
            self._timer_ns = None
            self._step("on_timer", due, self._scheduler.on_timer(self._timeline.now))

    # Decoders and engines.

    def _stage(self, key: FrameKey, frame: FrameBook) -> None:
        lost = self._staged == self._scenario.device_lost_at
        self._staged += 1
        self._timeline.at(self._timeline.now + frame.plan.staging_ns, self._staging_over, key, frame, lost)

    def _staging_over(self, key: FrameKey, frame: FrameBook, lost: bool) -> None:  # noqa: FBT001 - called by the timeline
        now, spent = self._timeline.now, frame.plan.staging_ns
        if lost:
            self._books.seen[Situation.DEVICE_LOST] += 1
            for model in self._books.models:  # also those that are gone: not everybody knows
                self._engine_lost(model)
        if lost or frame.plan.staging_fails:
            events.told_staging_failed(self._books, frame, now)
            fault = _DEVICE_LOST if lost else _UNDECODABLE
            self._step("staging_failed", frame, self._scheduler.frame_staging_failed(key, fault, now, spent_ns=spent))
        else:
            events.told_staged(self._books, frame, now)
            self._step("staged", frame, self._scheduler.frame_staged(key, now, frame.plan.undecodable, spent_ns=spent))

    def _run(self, run: Run[FrameBook]) -> None:
        model, size = self._books.models[run.model], len(run.crops)
        engine = model.plan.engine
        fate = engine.fates.get(model.batches)
        model.batches += 1
        takes = engine.batch_ns + engine.crop_ns * size + self._rng.randint(0, engine.batch_ns // 4)
        timeout = self._scenario.limits.batch_timeout_ns
        match fate:
            case BatchFate.NEVER_RETURNS:
                return
            case BatchFate.RETURNS_LATE:
                takes = timeout + self._rng.randint(10, 100) * MS
            case BatchFate.SLOW:
                takes = timeout * self._rng.randint(3, 8) // 10
            case _:
                pass
        self._timeline.at(self._timeline.now + takes, self._batch_over, run, fate)

    def _batch_over(self, run: Run[FrameBook], fate: BatchFate | None) -> None:
        model, key = run.model, run.batch
        self._books.seen[Situation.BATCH_CAME_LATE] += fate is BatchFate.RETURNS_LATE
        poisoned = any(ref.index in ref.payload.plan.poison for ref in run.crops)
        failed = poisoned or fate in (BatchFate.RAISES, BatchFate.LOSES_ENGINE)
        if fate is BatchFate.LOSES_ENGINE:
            self._engine_lost(model)
        events.told_batch_over(self._books, key, failed=failed, now=self._timeline.now)
        self._returned(model, key, failed=failed)

    def _returned(self, model: ModelIndex, key: BatchKey, *, failed: bool) -> None:
        now = self._timeline.now
        if failed:
            self._step("batch_failed", key, self._scheduler.batch_failed(model, key, "raised", now))
        else:
            self._step("batch_done", key, self._scheduler.batch_done(model, key, now))

    def _engine_lost(self, model: ModelIndex) -> None:
        self._books.told_lost.add(model)
        self._step("engine_lost", model, self._scheduler.engine_lost(model, "lost", self._timeline.now))

    def _finish(self) -> None:
        """Nothing will happen any more: everything must be over, and everything empty."""
        for client in self._clients:
            if client.book.known:
                raise Violation("nothing hangs", f"{client.book} is open for ever; {len(client.inbox)} messages unread")
        self._administrator.finish()
        statistics = self._scheduler.statistics(self._timeline.now)
        stuck = {ref.payload.number for batch in self._books.batches.values() for ref in batch.crops}
        left = leftovers(self._scheduler, stuck=bool(stuck))
        if left:
            raise Violation("leftovers", f"{left}")
        if statistics.frames != len(stuck) or (statistics.staged_bytes and not stuck):
            raise Violation("leftovers", f"{statistics} with {len(stuck)} frames in batches that never returned")
        if self._books.failures_untold:
            raise Violation("isolation", f"nobody was told of {self._books.failures_untold} failed batches")
        self._books.checks += 3
