"""Checks the whole state after every step: bounds, sums, promptness, and that nothing waits that could go on.

The sums are made from the books, frame by frame, and compared with the limits and with the core's own statistics; a
number that is wrong in the core is found at the step that made it wrong. Trap: this runs after every event, so it is
one pass over the open frames.
"""

from __future__ import annotations

from collections import Counter

from reidstream_server.core.state import Phase
from reidstream_server.core.terms import Flow, ModelIndex, Ordering, OverloadPolicy

from .books import Books, ClientBook, FrameBook, Pixels, Violation
from .fairness import Lane
from .plan import MS
from .shares import Shares
from .situations import Situation

ANSWER_BACKLOG_WINDOWS = 4


class Tally:
    """What one pass over the open frames adds up."""

    def __init__(self, models: int) -> None:
        self.holding = 0
        self.parked = 0
        self.queue_boxes = 0
        self.queue_bytes = 0
        self.staging = 0
        self.staged_bytes = 0
        self.budget_timers = 0
        self.flow_boxes: Counter[Flow] = Counter()
        self.flow_bytes: Counter[Flow] = Counter()
        self.flow_largest: dict[Flow, int] = {}
        self.queued: list[FrameBook] = []
        self.admitted: list[FrameBook] = []
        self.ready: list[list[FrameBook]] = [[] for _ in range(models)]
        self.ready_crops = [0] * models
        self.alone_crops = [0] * models
        self.staging_crops = [0] * models
        self.next_due_ns: int | None = None

    def due(self, at_ns: int) -> None:
        """Something must happen by then."""
        if self.next_due_ns is None or at_ns < self.next_due_ns:
            self.next_due_ns = at_ns


class Audit:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._limits = books.scenario.limits
        self._shares = Shares(books)
        self._places = 0

    @property
    def checks(self) -> int:
        """How many checks were made here."""
        return self._shares.checks

    def step(self, now: int) -> None:
        """After one call of the scheduler, and its effects."""
        books = self._books
        tally = self._count(now)
        self._statistics(tally, now)
        for client in books.clients.values():
            if client.known:
                self._client(client, tally, now)
        self._engines(tally, now)
        self._staging(tally)
        self._admission(tally)
        self._parking(tally)
        self._in_time(tally)
        self._shares.step(tally.queued, tally.ready, now)
        books.queue_boxes, books.queue_bytes = tally.queue_boxes, tally.queue_bytes
        books.flow_boxes, books.flow_bytes = tally.flow_boxes, tally.flow_bytes
        books.staging, books.staged_bytes = tally.staging, tally.staged_bytes
        books.parked = tally.parked
        books.staged_now.clear()
        books.ran_now.clear()
        books.checks += 30
        for number in [number for number, frame in books.frames.items() if frame.closed]:
            del books.frames[number]

    def _count(self, now: int) -> Tally:
        books = self._books
        tally = Tally(len(self._limits.models))
        for client in books.clients.values():
            client.backlog = len(client.unanswered) + len(client.unwritten)
            client.window_frames = client.window_bytes = 0
            client.parked = None
            client.unstarted = []
            client.open_seen = False
        for frame in books.frames.values():
            client = frame.client
            view = frame.view
            if view is not None and view.resolved and not frame.resolved:
                self._resolved(frame, now)
            if client.over:
                if not frame.resolved:
                    raise Violation("nothing hangs", f"{frame} is open, its session is over")
            elif not frame.written:
                if frame.in_window and frame.fault is None:
                    client.window_frames += 1
                    client.window_bytes += frame.plan.message_bytes
                self._promptly_answered(frame)
            if frame.pixels is Pixels.STAGING or frame.pixels is Pixels.STAGED:
                tally.holding += 1
                tally.staged_bytes += frame.plan.staged_bytes
                if frame.pixels is Pixels.STAGING:
                    tally.staging += 1
                    tally.queue_bytes += frame.plan.message_bytes
                    tally.flow_bytes[client.flow] += frame.plan.message_bytes
                    for model in frame.plan.crops:
                        tally.staging_crops[model] += 1
                elif frame.resolved and not frame.running:
                    raise Violation("release", f"{frame} is decided, nothing looks at it, and it is not released")
            if not frame.resolved:
                self._count_open(frame, tally, now)
        return tally

    def _count_open(self, frame: FrameBook, tally: Tally, now: int) -> None:
        view, client = frame.view, frame.client
        if view is None:
            raise Violation("exactly once", f"{frame} is neither known nor answered")
        if not frame.undecided:
            raise Violation("promptness", f"all crops of {frame} are decided, and it is not")
        phase = view.phase
        if frame.pixels not in (Pixels.STAGING, Pixels.STAGED):
            tally.holding += 1
        if phase is Phase.PARKED:
            tally.parked += 1
            client.parked = frame
            client.unstarted.append(frame)
        else:
            tally.queue_boxes += frame.boxes
            tally.flow_boxes[client.flow] += frame.boxes
            tally.flow_largest[client.flow] = max(tally.flow_largest.get(client.flow, 0), frame.boxes)
            if phase is Phase.QUEUED:
                if frame.queued_ns is None:
                    frame.queued_ns = now
                tally.queued.append(frame)
                client.unstarted.append(frame)
                tally.queue_bytes += frame.plan.message_bytes
                tally.flow_bytes[client.flow] += frame.plan.message_bytes
        if phase is Phase.PARKED and frame.phase is None:
            waits = client.plan.terms.overload_policy is OverloadPolicy.WAIT
            self._books.seen[Situation.PARKED_WAIT if waits else Situation.PARKED_DROP_OLDEST] += 1
        if phase is not Phase.PARKED and (frame.phase is None or frame.phase is Phase.PARKED):
            tally.admitted.append(frame)
            self._books.seen[Situation.UNPARKED] += frame.phase is Phase.PARKED
        frame.phase = phase
        for model, count in frame.ready.items():
            if count:
                tally.ready[model].append(frame)
                tally.ready_crops[model] += count
        for model, count in frame.alone.items():
            tally.alone_crops[model] += count
        if frame.due_ns is not None and not frame.begun:
            tally.budget_timers += 1
            tally.due(frame.due_ns)
            if now >= frame.due_ns:
                raise Violation("budget", f"{frame} is over its budget and not answered")

    def _resolved(self, frame: FrameBook, now: int) -> None:
        """The core has decided a frame's answer since the last step."""
        view = frame.view
        frame.resolved = True
        if view is None or view.fault is None:
            return
        frame.fault = view.fault.reason
        if frame.due_ns is not None and now >= frame.due_ns:
            seen = self._books.seen
            match frame.phase:
                case None:
                    seen[Situation.LATE_ARRIVED] += 1
                case Phase.PARKED:
                    seen[Situation.LATE_PARKED] += 1
                case Phase.QUEUED:
                    seen[Situation.LATE_QUEUED] += 1
                case Phase.STAGING:
                    seen[Situation.LATE_STAGING] += 1
                case Phase.READY:
                    seen[Situation.LATE_READY] += 1

    def _promptly_answered(self, frame: FrameBook) -> None:
        """A decided answer is handed out at once, unless an older one is open and the order matters."""
        client = frame.client
        if frame.answered:
            return
        if frame.resolved:
            if client.plan.terms.ordering is Ordering.AS_COMPLETED or not client.open_seen:
                raise Violation("promptness", f"{frame} is decided and not answered")
            self._books.seen[Situation.ANSWER_WAITED] += 1
        else:
            client.open_seen = True

    def _statistics(self, tally: Tally, now: int) -> None:
        """The core's own numbers are right, and within the limits."""
        books, limits = self._books, self._limits
        core = books.scheduler.statistics(now)
        known = [client for client in books.clients.values() if client.known]
        batches: Counter[ModelIndex] = Counter()
        crops: Counter[ModelIndex] = Counter()
        for batch in books.batches.values():
            batches[batch.model] += 1
            crops[batch.model] += len(batch.crops)
        counted = (
            len(known),
            tally.holding,
            tally.queue_boxes,
            tally.queue_bytes,
            tally.staged_bytes,
            tally.staging,
            tally.parked,
            tuple(
                (tally.ready_crops[index] + tally.alone_crops[index], batches[index], crops[index], index in books.lost)
                for index in map(ModelIndex, range(len(limits.models)))
            ),
        )
        reported = (
            core.sessions,
            core.frames,
            core.queue_boxes,
            core.queue_bytes,
            core.staged_bytes,
            core.staging_frames,
            core.parked_frames,
            tuple((model.ready_crops, model.running_batches, model.running_crops, model.lost) for model in core.models),
        )
        if counted != reported:
            raise Violation("statistics", f"the core reports {reported}; it is {counted}")
        if tally.queue_boxes > limits.max_queue_boxes or tally.queue_bytes > limits.max_queue_bytes:
            raise Violation("bounds", f"{tally.queue_boxes} boxes, {tally.queue_bytes} bytes in the queue of {limits}")
        timers = tally.budget_timers + len(books.batches) + len(limits.models)
        timers += sum(bool(client.unwritten) + (client.drain_ns is not None) for client in known)
        if core.timers > timers:
            raise Violation("timers", f"{core.timers} timers; there is use for {timers}")

    def _client(self, client: ClientBook, tally: Tally, now: int) -> None:
        """One session's window, readability, deadlines and end."""
        books, limits, terms = self._books, self._limits, client.plan.terms
        window = terms.window
        if client.window_frames > window.frames:
            raise Violation("window", f"{client.window_frames} frames unanswered in the window of {client}")
        waits = terms.overload_policy is OverloadPolicy.WAIT
        if not waits and client.window_bytes > window.bytes and client.window_frames > 1:
            raise Violation("window", f"{client.window_bytes} of {window.bytes} bytes in the window of {client}")
        if waits:
            readable = client.parked is None and client.backlog < window.frames and client.window_bytes < window.bytes
        else:
            readable = client.backlog < ANSWER_BACKLOG_WINDOWS * window.frames
        readable = readable or client.half_closed or client.drain_ns is not None
        if client.key is None or books.scheduler.readable(client.key) is not readable:
            raise Violation("readable", f"{client} should be readable: {readable}; {client.backlog} in its backlog")
        if not readable:
            books.seen[Situation.NOT_READ if waits else Situation.BACKLOG_FULL] += 1
        if client.unwritten:
            due = client.stalled_since_ns + limits.stall_timeout_ns
            tally.due(due)
            if now >= due:
                raise Violation("stall", f"{client} takes no answers, and is not given up")
        done = not client.unanswered and not client.unwritten
        if done and (client.half_closed or client.drain_ns is not None):
            raise Violation("nothing hangs", f"{client} has nothing open, and does not end")
        if client.drain_ns is not None and client.unanswered:
            tally.due(client.drain_ns)
            if now >= client.drain_ns:
                raise Violation("drain", f"{client} has {len(client.unanswered)} frames open after its deadline")

    def _engines(self, tally: Tally, now: int) -> None:
        """Work is conserved: no slot is free while crops wait, unless for the linger that was asked for."""
        books, limits = self._books, self._limits
        for index, terms in enumerate(limits.models):
            model = ModelIndex(index)
            running = [batch for batch in books.batches.values() if batch.model == model]
            if model in books.lost:
                continue
            for batch in running:
                due = batch.started_ns + limits.batch_timeout_ns
                tally.due(due)
                if now >= due:
                    raise Violation("timeout", f"a batch of model {model} never came back, and nobody noticed")
            ready, alone = tally.ready_crops[model], tally.alone_crops[model]
            if len(running) >= terms.slots or not (ready or alone):
                continue
            since = min((frame.staged_ns for frame in tally.ready[model]), default=now)
            tally.due(since + limits.linger_ns)
            if alone or ready >= terms.max_batch or now >= since + limits.linger_ns:
                raise Violation(
                    "work conservation",
                    f"model {model} has a free slot, {ready} crops ready for {(now - since) / MS:g} ms, {alone} to run alone",
                )
            books.seen[Situation.LINGERED] += 1

    def _staging(self, tally: Tally) -> None:
        """Engines are fed: no staging slot is free while a frame waits for which an engine is hungry."""
        books, limits = self._books, self._limits
        if tally.staging >= limits.staging_slots or not tally.queued:
            return
        hungry = {
            ModelIndex(index)
            for index, terms in enumerate(limits.models)
            if ModelIndex(index) not in books.lost
            and tally.ready_crops[index] + tally.alone_crops[index] + tally.staging_crops[index]
            < terms.max_batch * terms.slots
        }
        wanted = [frame for frame in _first_of_each_camera(tally.queued) if not hungry.isdisjoint(frame.plan.crops)]
        if not wanted:
            return
        if tally.staged_bytes + max(frame.plan.staged_bytes for frame in wanted) <= limits.max_staged_bytes:
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
        """No camera holds more of the queue than its share: when its last frame came in, what it holds was still free."""
        limits = self._limits
        for flow, boxes in tally.flow_boxes.items():
            if 2 * boxes > limits.max_queue_boxes + tally.flow_largest[flow]:
                raise Violation("admission", f"{flow} holds {boxes} of {limits.max_queue_boxes} boxes")

    def _parking(self, tally: Tally) -> None:
        """Whoever waits for room, and holds nothing, is not passed by; and the sessions of one camera take turns."""
        books = self._books
        waiting = [
            client for client in books.clients.values() if client.place is not None and client.parked is not None
        ]
        for frame in tally.admitted:
            came = frame.client.place
            for client in waiting:
                if client is frame.client or client.place is None or (came is not None and came < client.place):
                    continue
                had_nothing = not books.flow_boxes[client.flow] and not tally.flow_boxes[client.flow]
                if had_nothing or client.flow == frame.client.flow:
                    raise Violation("parking", f"{frame} was let in before {client.parked}")
        for client in books.clients.values():
            if client.parked is None:
                client.place = None
            elif client.place is None:
                self._places += 1
                client.place = self._places


def _first_of_each_camera(queued: list[FrameBook]) -> list[FrameBook]:
    """The frames that may be staged next: a camera's frames of one priority go in the order in which they were let in."""
    first: dict[Lane, tuple[int, FrameBook]] = {}
    for frame in queued:
        if frame.view is not None and frame.view.queue_entry is not None:
            lane, number = (frame.client.plan.terms.priority, frame.client.flow), frame.view.queue_entry.number
            if lane not in first or number < first[lane][0]:
                first[lane] = number, frame
    return [frame for _, frame in first.values()]
