"""One pass over the open frames after every step: their sums, and the rules about each frame by itself.

Trap: this is the inner loop of the simulation: it looks at every open frame after every event. So it does nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from reidstream_server.core.faults import FaultReason
from reidstream_server.core.state import Phase
from reidstream_server.core.terms import Flow, ModelIndex, Ordering, OverloadPolicy

from .books import Books, FrameBook, Pixels, Violation
from .situations import Situation

_LATE = {
    None: Situation.LATE_ARRIVED,
    Phase.PARKED: Situation.LATE_PARKED,
    Phase.QUEUED: Situation.LATE_QUEUED,
    Phase.STAGING: Situation.LATE_STAGING,
    Phase.READY: Situation.LATE_READY,
}


class InSight:
    """What engines will have soon: frames that are being staged, or ready and ample, and crops of both."""

    def __init__(self) -> None:
        self.frames: Counter[ModelIndex] = Counter()
        self.crops: Counter[ModelIndex] = Counter()


class InTurn:
    """What sources hold of the queue, without what has passed others."""

    def __init__(self) -> None:
        self.boxes: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()


class Tally:
    """The sums of one pass over the open frames."""

    def __init__(self) -> None:
        self.holding = 0
        self.parked = 0
        self.queue_boxes = 0
        self.queue_bytes = 0
        self.staging = 0
        self.aside = 0
        self.lost_stagings = 0
        self.watched = 0
        self.staged_bytes = 0
        self.heavy_bytes = 0
        self.answer_bytes = 0
        self.flow_answers: Counter[Flow] = Counter()
        self.parked_bytes = 0
        self.source_parked: Counter[str] = Counter()
        self.passed_boxes = 0
        self.passed_bytes = 0
        self.passed_answers = 0
        self.budget_timers = 0
        self.lingering: set[ModelIndex] = set()
        self.in_turn = InTurn()
        self.flow_boxes: Counter[Flow] = Counter()
        self.flow_bytes: Counter[Flow] = Counter()
        self.flow_largest: dict[Flow, int] = {}
        self.queued: list[FrameBook] = []
        self.admitted: list[FrameBook] = []
        self.ready: defaultdict[ModelIndex, list[FrameBook]] = defaultdict(list)
        self.ready_crops: Counter[ModelIndex] = Counter()
        self.alone_crops: Counter[ModelIndex] = Counter()
        self.light = InSight()
        self.all = InSight()
        self.next_due_ns: int | None = None

    def due(self, at_ns: int) -> None:
        """Something must happen by then."""
        if self.next_due_ns is None or at_ns < self.next_due_ns:
            self.next_due_ns = at_ns


def count(books: Books, now: int) -> Tally:  # noqa: C901 - the inner loop
    """Bring the books up to date with what the core has decided, and add them up."""
    tally = Tally()
    for client in books.clients.values():
        client.backlog = len(client.unanswered) + len(client.unwritten)
        client.window_frames = client.window_bytes = 0
        client.parked = None
        client.unstarted = []
        client.open_seen = False
    for frame in books.frames.values():
        if not frame.resolved and frame.view is not None and frame.view.resolved:
            _resolved(books, frame)
        if not frame.client.over:
            _session(books, frame)
        elif not frame.resolved:
            raise Violation("nothing hangs", f"{frame} is open, its session is over")
        if frame.pixels is Pixels.STAGING or frame.pixels is Pixels.STAGED:
            _pixels(frame, tally)
        elif frame.resolved and not (frame.released or frame.plan.refused):
            raise Violation("release", f"{frame} is decided, and its message is not let go")
        if not frame.resolved:
            if frame.given_up:
                raise Violation("heavy", f"{frame} was given up, and is not answered")
            _open(books, frame, tally, now)
        if frame.holds_answer:
            tally.answer_bytes += frame.plan.answer_bytes
            tally.flow_answers[frame.client.flow] += frame.plan.answer_bytes
            tally.passed_answers += frame.plan.answer_bytes * _passed(frame)
            tally.in_turn.answers[frame.client.flow.client] += frame.plan.answer_bytes * (not _passed(frame))
    return tally


def _passed(frame: FrameBook) -> bool:
    """Whether it was let in before a larger one that waited."""
    return frame.view is not None and frame.view.passed


def _resolved(books: Books, frame: FrameBook) -> None:
    """The core has decided a frame's answer since the last step."""
    frame.resolved = True
    if frame.view is not None and frame.view.fault is not None:
        frame.fault = frame.view.fault.reason
        if frame.fault is FaultReason.OVER_BUDGET:
            books.seen[_LATE[frame.phase]] += 1


def _session(books: Books, frame: FrameBook) -> None:
    """Count it in its session's window. A decided answer is handed out at once, unless it has to wait its turn."""
    client = frame.client
    if frame.written:
        return
    if frame.fault is None and frame.in_window:
        client.window_frames += 1
        client.window_bytes += frame.plan.message_bytes
    if frame.answered:
        return
    if not frame.resolved:
        client.open_seen = True
    elif client.plan.terms.ordering is Ordering.AS_COMPLETED or not client.open_seen:
        raise Violation("promptness", f"{frame} is decided and not answered")
    else:
        books.seen[Situation.ANSWER_WAITED] += 1


def _pixels(frame: FrameBook, tally: Tally) -> None:
    """What is on the device, or on its way there."""
    tally.holding += 1
    tally.staged_bytes += frame.plan.staged_bytes
    tally.heavy_bytes += frame.plan.staged_bytes * frame.heavy
    if frame.pixels is Pixels.STAGING:
        tally.staging += not frame.aside and not frame.given_up
        tally.aside += frame.aside and not frame.given_up
        tally.lost_stagings += frame.given_up
        tally.watched += not frame.given_up
        tally.queue_bytes += frame.plan.message_bytes
        tally.flow_bytes[frame.client.flow] += frame.plan.message_bytes
        tally.passed_bytes += frame.plan.message_bytes * _passed(frame)
        tally.in_turn.bytes[frame.client.flow.client] += frame.plan.message_bytes * (not _passed(frame))
        if not frame.given_up:
            for sight in (tally.all,) if frame.aside else (tally.all, tally.light):
                sight.crops.update(frame.models)
                sight.frames.update(set(frame.models))
    elif frame.resolved and not frame.running:
        raise Violation("release", f"{frame} is decided, nothing looks at it, and it is not released")


def _open(books: Books, frame: FrameBook, tally: Tally, now: int) -> None:
    """A frame whose answer is open."""
    view, client = frame.view, frame.client
    if view is None:
        raise Violation("exactly once", f"{frame} is neither known nor answered")
    if not frame.undecided:
        raise Violation("promptness", f"all crops of {frame} are decided, and it is not")
    if view.phase is Phase.PARKED:
        tally.parked += 1
        tally.parked_bytes += frame.plan.message_bytes
        tally.source_parked[client.plan.terms.source] += frame.plan.message_bytes
        client.parked = frame
    else:
        frame.admitted = True
        tally.passed_boxes += frame.boxes * _passed(frame)
        tally.in_turn.boxes[client.flow.client] += frame.boxes * (not _passed(frame))
        tally.queue_boxes += frame.boxes
        tally.flow_boxes[client.flow] += frame.boxes
        tally.flow_largest[client.flow] = max(tally.flow_largest.get(client.flow, 0), frame.boxes)
    if view.phase is Phase.QUEUED:
        if frame.queued_ns is None:
            frame.queued_ns = now
        tally.queued.append(frame)
        tally.passed_bytes += frame.plan.message_bytes * _passed(frame)
        tally.in_turn.bytes[client.flow.client] += frame.plan.message_bytes * (not _passed(frame))
        tally.queue_bytes += frame.plan.message_bytes
        tally.flow_bytes[client.flow] += frame.plan.message_bytes
    if frame.pixels is Pixels.NOWHERE:
        tally.holding += 1
        client.unstarted.append(frame)
    elif frame.pixels is Pixels.STAGED:
        _crops(frame, tally)
    if view.phase is not frame.phase:
        _moved(books, frame, view.phase, tally)
    if frame.due_ns is not None and not frame.begun:
        _budget(frame, frame.due_ns, tally, now)


def _budget(frame: FrameBook, due_ns: int, tally: Tally, now: int) -> None:
    tally.budget_timers += 1
    tally.due(due_ns)
    if now >= due_ns:
        raise Violation("budget", f"{frame} is over its budget and not answered")


def _crops(frame: FrameBook, tally: Tally) -> None:
    for model, ready in frame.ready.items():
        if ready:
            tally.ready[model].append(frame)
            tally.ready_crops[model] += ready
            for sight in (tally.all,) if frame.aside else (tally.all, tally.light):
                sight.frames[model] += frame.is_ample(model)
                sight.crops[model] += ready
    for model, alone in frame.alone.items():
        tally.alone_crops[model] += alone
        tally.all.crops[model] += alone
        tally.light.crops[model] += alone


def _moved(books: Books, frame: FrameBook, phase: Phase, tally: Tally) -> None:
    """It has come further since the last step."""
    was, frame.phase = frame.phase, phase
    if phase is Phase.PARKED:
        waits = frame.client.plan.terms.overload_policy is OverloadPolicy.WAIT
        books.seen[Situation.PARKED_WAIT if waits else Situation.PARKED_DROP_OLDEST] += 1
    elif was is None or was is Phase.PARKED:
        tally.admitted.append(frame)
        books.seen[Situation.UNPARKED] += was is Phase.PARKED
