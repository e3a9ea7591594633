"""Checks the whole state after every step: bounds, sums, promptness, and that nothing waits that could go on.

The sums are made from the books, frame by frame, and compared with the limits and with the core's own statistics. So a
wrong number in the core is found at the step that made it wrong. Trap: this runs after every event, so it may be one
pass over the open frames, no more.
"""

from __future__ import annotations

from itertools import takewhile

from reidstream_server.core.terms import OverloadPolicy

from .books import Books, ClientBook, FrameBook, Lane, ModelBook, Pixels, Violation, would_run_dry
from .models_rule import check_models
from .oracle import MOST_LOST, SET_ASIDE
from .parking_rule import Parking
from .precedence_rule import PrecedenceRule
from .reported import check_scheduler, check_session
from .shares import Shares
from .situations import Situation
from .tally import Tally, count

ANSWER_BACKLOG_WINDOWS = 4


class Audit:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._limits = books.scenario.limits
        self._shares = Shares(books)
        self.parking = Parking(books)
        self._precedence = PrecedenceRule(books)
        self._lost_stagings = 0

    @property
    def checks(self) -> int:
        """How many checks were made here."""
        return self._shares.checks + self._precedence.checks

    def step(self, now: int) -> None:
        """After one call of the scheduler, and its effects."""
        books = self._books
        tally = count(books, now)
        self._precedence.step(now)
        for client in books.clients.values():
            if client.known:
                self._window(client)
                check_session(books, client, readable=self._readable(client, now))
                self._ends(client, tally, now)
        self._engines(tally, now)
        check_models(books)
        check_scheduler(books, tally, now)
        self._decoders(tally, now)
        for heavy in (False, True):
            self._staging(tally, now, heavy=heavy)
        self._admission(tally)
        self.parking.step(tally)
        self._in_time(tally)
        self._shares.step(tally.queued, tally.ready, now)
        books.queue_boxes, books.queue_bytes = tally.queue_boxes, tally.queue_bytes
        books.flow_boxes, books.flow_bytes = tally.flow_boxes, tally.flow_bytes
        books.answer_bytes, books.flow_answers = tally.answer_bytes, tally.flow_answers
        books.staging, books.staged_bytes = tally.staging, tally.staged_bytes
        books.aside, books.heavy_bytes = tally.aside, tally.heavy_bytes
        books.parked, books.lingering = tally.parked, tally.lingering
        books.parked_bytes, books.source_parked = tally.parked_bytes, tally.source_parked
        books.came_now.clear()
        books.staged_now.clear()
        books.ran_now.clear()
        books.began_now.clear()
        books.checks += 38
        for number in [number for number, frame in books.frames.items() if frame.closed]:
            del books.frames[number]

    def _window(self, client: ClientBook) -> None:
        """No more is unanswered than was agreed."""
        terms = client.plan.terms
        if client.window_frames > terms.window.frames:
            raise Violation("window", f"{client.window_frames} frames unanswered in the window of {client}")
        waits = terms.overload_policy is OverloadPolicy.WAIT  # one message may exceed the bytes: then it is not read on
        if not waits and client.window_bytes > terms.window.bytes and client.window_frames > 1:
            raise Violation("window", f"{client.window_bytes} bytes unanswered in the window of {client}")

    def _readable(self, client: ClientBook, now: int) -> bool:
        """A session is read exactly while it should be, and the shell has been told."""
        books, window = self._books, client.plan.terms.window
        waits = client.plan.terms.overload_policy is OverloadPolicy.WAIT
        if books.accounts.paused(client.plan.terms.source, now):
            readable = False
            books.seen[Situation.PAUSED] += 1
        elif client.drain_ns is not None:
            readable = True
        elif waits:
            readable = client.parked is None and client.backlog < window.frames and client.window_bytes < window.bytes
        else:
            readable = client.backlog < ANSWER_BACKLOG_WINDOWS * window.frames
        if client.key is None or books.scheduler.readable(client.key) is not readable:
            raise Violation("readable", f"{client} should be readable: {readable}; {client.backlog} in its backlog")
        if readable and not client.gate:
            raise Violation("readable", f"{client} may be read, and nobody was told")
        if not readable:
            books.seen[Situation.NOT_READ if waits else Situation.BACKLOG_FULL] += 1
        return readable

    def _ends(self, client: ClientBook, tally: Tally, now: int) -> None:
        """A session ends when it is done, when nobody takes its answers, and its frames when the drain is over."""
        if client.unwritten:
            due = client.stalled_since_ns + self._limits.stall_timeout_ns
            tally.due(due)
            if now >= due:
                raise Violation("stall", f"{client} takes no answers, and is not given up")
        elif not client.unanswered and (client.half_closed or client.drain_ns is not None):
            raise Violation("nothing hangs", f"{client} has nothing open, and does not end")
        if client.drain_ns is not None and not client.drain_sent:
            raise Violation("drain", f"{client} was not told to leave")
        if client.drain_ns is not None and client.unanswered:
            tally.due(client.drain_ns)
            if now >= client.drain_ns:
                raise Violation("drain", f"{client} has {len(client.unanswered)} frames open after its deadline")

    def _engines(self, tally: Tally, now: int) -> None:
        """Work is conserved: no slot is free while crops wait, unless for the linger that was asked for."""
        books, limits = self._books, self._limits
        for model, book in books.there.items():
            terms = book.plan.terms
            running = [batch for batch in books.batches.values() if batch.model == model]
            if model in books.lost:
                continue
            for batch in running:
                due = batch.started_ns + limits.batch_timeout_ns
                tally.due(due)
                if now >= due:
                    raise Violation("timeout", f"a batch of model {model} never came back, and nobody noticed")
            ready, alone = tally.ready_crops[model], tally.alone_crops[model]
            if model in books.began_now or len(running) >= terms.slots or not (ready or alone):
                book.passed = 0
                book.ahead = sum(other.plan.terms.cores > 0 for other in books.there.values() if other is not book)
            if len(running) >= terms.slots or not (ready or alone):
                continue
            if terms.cores and not books.want_work():
                if not limits.linger_ns:
                    self._waits_for_a_core(book)
                continue
            since = min((frame.staged_ns for frame in tally.ready[model]), default=now)
            tally.due(since + limits.linger_ns)
            if alone or ready >= terms.max_batch or now >= since + limits.linger_ns:
                raise Violation(
                    "work conservation",
                    f"model {model} has a free slot, {ready} crops ready since {since}, {alone} to run alone",
                )
            tally.lingering.add(model)
            books.seen[Situation.LINGERED] += 1

    def _waits_for_a_core(self, model: ModelBook) -> None:
        """Batches go before staging, and the models take turns. A model that comes has its turn after the others."""
        books = self._books
        books.seen[Situation.CORES_BUSY] += 1
        light = [frame for frame in books.staged_now if not frame.heavy]
        if light:
            raise Violation("cores", f"{light[0]} is staged, though {model} has crops ready")
        since_its_own = takewhile(lambda other: other != model.index, reversed(books.began_now))
        model.passed += sum(books.models[other].plan.terms.cores > 0 for other in since_its_own)
        if model.passed > model.ahead:
            raise Violation("cores", f"{model.passed} batches of others began while {model} waited")

    def _decoders(self, tally: Tally, now: int) -> None:
        """What is staged for too long is set aside, and then given up."""
        books, limits = self._books, self._limits
        one_more = tally.lost_stagings > max(self._lost_stagings, MOST_LOST * limits.staging_slots)
        if one_more and set(books.there) - books.lost:
            raise Violation("engine lost", f"{tally.lost_stagings} decoders are lost, and the engines go on")
        self._lost_stagings = tally.lost_stagings
        place = tally.aside < SET_ASIDE * limits.staging_slots
        for frame in books.frames.values():
            if frame.pixels is not Pixels.STAGING or frame.given_up:
                continue
            slow, timeout = frame.staging_ns + limits.slow_staging_ns, frame.staging_ns + limits.staging_timeout_ns
            tally.due(timeout if frame.aside or now >= slow else slow)
            if now >= timeout or (not frame.aside and now >= slow and place):
                raise Violation("heavy", f"{frame} has been staged since {frame.staging_ns}, and nobody noticed")
            books.seen[Situation.NO_PLACE_ASIDE] += not frame.aside and now >= slow

    def _staging(self, tally: Tally, now: int, *, heavy: bool) -> None:
        """Engines are fed: no staging slot is free while a frame waits for which an engine is hungry. So no core is
        idle while a frame waits, unless its engines have crops ready and no slot for them; nor will a core be that is
        free next.
        """
        books, limits = self._books, self._limits
        busy = tally.aside if heavy else tally.staging
        if busy >= limits.staging_slots or not (heavy or books.want_work()) or not tally.queued:
            return
        ready, sight = tally.ready_crops + tally.alone_crops, tally.all if heavy else tally.light
        living = [index for index in books.there if index not in books.lost]
        hungry = {
            index
            for index in living
            if not (heavy or ready[index]) or would_run_dry(books, index, sight.frames[index], sight.crops[index])
        }
        first = [
            frame
            for frame in _first_of_each_camera(tally.queued)
            if (frame.heavy or books.accounts.slowed(frame.client.plan.terms.source, now)) is heavy
        ]
        wanted = [frame for frame in first if not hungry.isdisjoint(frame.models)]
        if not wanted:
            books.seen[Situation.AHEAD] += bool(first)
            return
        most = limits.max_staged_bytes
        if heavy and tally.heavy_bytes:
            most -= limits.max_staged_bytes // 4
        if tally.staged_bytes + max(frame.plan.staged_bytes for frame in wanted) <= most:
            raise Violation(
                "work conservation", f"a staging slot is free, {wanted[0]} waits, models {hungry} are hungry"
            )
        books.seen[Situation.BYTES_HELD] += 1

    def _in_time(self, tally: Tally) -> None:
        """The core asks to be called when the next thing is due, at the latest."""
        asked = self._books.scheduler.next_timer_ns()
        if tally.next_due_ns is not None and (asked is None or asked > tally.next_due_ns):
            raise Violation("timers", f"something is due at {tally.next_due_ns}; the next timer is {asked}")

    def _admission(self, tally: Tally) -> None:
        """No camera holds more of the queue than its share: when its last frame came in, as much was still free. And no
        source holds more than two thirds.
        """
        limits = self._limits
        for flow, boxes in tally.flow_boxes.items():
            if 2 * boxes > limits.max_queue_boxes + tally.flow_largest[flow]:
                raise Violation("admission", f"{flow} holds {boxes} of {limits.max_queue_boxes} boxes")
        for source in {flow.client for flow in tally.flow_boxes}:
            flows = [flow for flow in tally.flow_boxes if flow.client == source]
            boxes = sum(tally.flow_boxes[flow] for flow in flows)
            if 3 * boxes > 2 * limits.max_queue_boxes + max(tally.flow_largest[flow] for flow in flows):
                raise Violation("admission", f"{source} holds {boxes} of {limits.max_queue_boxes} boxes")


def _first_of_each_camera(queued: list[FrameBook]) -> list[FrameBook]:
    """The frames that may be staged next: those of one camera and priority go in the order in which they came in."""
    first: dict[Lane, tuple[int, FrameBook]] = {}
    for frame in queued:
        if frame.view is not None and frame.view.queue_entry is not None:
            lane, number = frame.lane, frame.view.queue_entry.number
            if lane not in first or number < first[lane][0]:
                first[lane] = number, frame
    return [frame for _, frame in first.values()]
