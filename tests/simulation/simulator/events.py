"""What the scheduler is about to be told, written into the books: the events, before the core knows of them.

    world --event--> events, Scheduler --effects--> Oracle.effect, world carries it out, the next; then Audit.step

Trap: whether an event comes too late for its frame is read from the core's state before the call, never after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_server.core.effects import Answer, Effect
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import BatchKey

from .accounts import OVERSPENT
from .books import Books, ClientBook, Crop, FrameBook, Pixels
from .plan import FramePlan, Moment
from .situations import Situation

_VANISHED = {
    Moment.PARKED: Situation.VANISHED_WAITING,
    Moment.QUEUED: Situation.VANISHED_QUEUED,
    Moment.STAGING: Situation.VANISHED_STAGING,
    Moment.READY: Situation.VANISHED_READY,
    Moment.RUNNING: Situation.VANISHED_RUNNING,
    Moment.ISOLATING: Situation.VANISHED_ISOLATING,
}


def told_of_frame(books: Books, client: ClientBook, plan: FramePlan, now: int) -> FrameBook | None:
    """A frame was read; None if it came after the drain and must be ignored."""
    if client.drain_ns is not None:
        books.seen[Situation.DRAIN_IGNORED] += 1
        if not client.over:
            books.accounts.read_for_nothing(client.plan.terms.source, plan.reading_ns)
        return None
    books.frames_told += 1
    client.told += 1
    budget = client.plan.terms.latency_budget_ns
    valid = client.last_id is None or plan.frame_id > client.last_id
    if valid:
        client.last_id = plan.frame_id
    frame = FrameBook(
        client=client,
        plan=plan,
        number=books.frames_told,
        arrived_ns=now,
        due_ns=None if budget is None or not plan.crops or plan.refused else now + budget - plan.age_ns,
        id_valid=valid,
        models=tuple(client.models[name] for name in plan.crops),
        crops=[Crop.UNSTAGED] * len(plan.crops),
        undecided=len(plan.crops),
        lane=client.lanes[0],
        unpaid_ns=0 if plan.refused else plan.reading_ns,
    )
    _weigh(books, frame)
    if plan.refused:
        books.accounts.charge(client.plan.terms.source, plan.reading_ns, now)
    retiring = any(books.models[model].retiring for model in client.models.values())
    books.seen[Situation.FRAME_FOR_RETIRING] += retiring and bool(plan.crops)
    books.came_now.append(frame)
    client.unanswered[frame.number] = frame
    books.frames[frame.number] = frame
    return frame


def _weigh(books: Books, frame: FrameBook) -> None:
    """What it costs, as far as anybody can tell."""
    limits, plan = books.scenario.limits, frame.plan
    declared = 0 if plan.refused else plan.declared_ns
    frame.expected_ns = books.accounts.expected_ns(frame.client.plan.terms.source, declared)
    frame.cost_ns = max(1, frame.expected_ns + sum(books.models[model].box_ns for model in frame.models))
    frame.heavy = frame.boxes > limits.heavy_boxes or frame.expected_ns > limits.heavy_staging_ns
    frame.client.classes.add(frame.heavy)


def _decoder_back(books: Books, frame: FrameBook, now: int) -> None:
    """A decoder has ended its work, wanted or not."""
    source, spent = frame.client.plan.terms.source, frame.plan.staging_ns
    if frame.given_up:
        books.lost_stagings -= 1
    elif frame.aside:
        books.aside -= 1
        if not frame.heavy:  # it was set aside
            books.accounts.suspect(source, -1)
    else:
        books.staging -= 1
    books.accounts.spent(source, frame.plan.declared_ns, spent)
    slow = spent > books.scenario.limits.slow_staging_ns and spent > OVERSPENT * frame.expected_ns
    if slow and not frame.given_up:
        books.accounts.charge(source, spent - frame.expected_ns, now)
        books.seen[Situation.OVERSPENT] += 1


def told_refused(books: Books, frame: FrameBook, effects: Sequence[Effect[FrameBook]], now: int) -> None:
    """What the scheduler has said to a frame that came: if it had no room for it, its source pays."""
    fault = None if frame.view is None else frame.view.fault
    for effect in effects:
        if isinstance(effect, Answer) and effect.payload is frame:
            fault = effect.fault
    if fault is not None and fault.reason in (FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL):
        books.accounts.charge(frame.client.plan.terms.source, frame.plan.reading_ns, now)
        frame.unpaid_ns = 0
        books.seen[Situation.READ_IN_VAIN] += frame.plan.reading_ns > 0


def told_staged(books: Books, frame: FrameBook, now: int) -> None:
    """Staging is done."""
    seen = books.seen
    _decoder_back(books, frame, now)
    frame.pixels = Pixels.STAGED
    frame.staged_ns = now
    books.came_now.append(frame)
    for index, model in enumerate(frame.models):
        if index in frame.plan.undecodable:
            frame.crops[index] = Crop.UNDECODABLE
            frame.undecided -= 1
        else:
            frame.crops[index] = Crop.READY
            frame.ready[model] += 1
    frame.ready_at_first = frame.ready.copy()
    if frame.view is not None and frame.view.resolved:
        seen[Situation.STAGED_TOO_LATE] += 1
    elif frame.plan.undecodable:
        seen[Situation.SOME_UNDECODABLE if frame.undecided else Situation.ALL_UNDECODABLE] += 1
    if len(set(frame.models)) > 1:
        seen[Situation.MODELS_MIXED] += 1


def told_staging_failed(books: Books, frame: FrameBook, now: int) -> None:
    """Staging did not succeed."""
    _decoder_back(books, frame, now)
    books.heavy_bytes -= frame.plan.staged_bytes * frame.heavy
    books.staged_bytes -= frame.plan.staged_bytes
    frame.pixels = Pixels.FAILED
    late = frame.view is not None and frame.view.resolved
    books.seen[Situation.STAGING_FAILED_TOO_LATE if late else Situation.STAGING_FAILED] += 1


def told_batch_over(books: Books, key: BatchKey, *, failed: bool, now: int) -> None:
    """A batch came back."""
    batch = books.batches.pop(key)
    size = len(batch.crops)
    model = books.models[batch.model]
    if not failed and batch.model in books.there:
        cost = (now - batch.started_ns) * max(1, model.plan.terms.cores) // size
        model.box_ns += (cost - model.box_ns) // 8
    for frame in {ref.payload.number: ref.payload for ref in batch.crops}.values():
        frame.batch_sizes.append(size)
        frame.last_batch_ns = now
    for ref in batch.crops:
        frame = ref.payload
        frame.running -= 1
        if failed and size > 1:
            frame.crops[ref.index] = Crop.ALONE
            frame.alone[batch.model] += 1
            frame.isolated.add(ref.index)
        else:
            frame.crops[ref.index] = Crop.FAILED if failed else Crop.EMBEDDED
            frame.undecided -= 1
            books.seen[Situation.POISON_ALONE] += failed and ref.index in frame.plan.poison
            books.seen[Situation.INNOCENT_SAVED] += not failed and ref.index in frame.isolated
    if failed:
        books.failures_untold += 1
        books.seen[Situation.ENGINE_RAISED] += 1


def told_written(books: Books, client: ClientBook, now: int) -> None:
    """The client took its oldest answer."""
    frame = client.unwritten.popleft()
    frame.written = True
    waited = now - frame.answered_ns
    books.seen[Situation.CLIENT_SLOW] += waited > books.scenario.limits.stall_timeout_ns
    client.stalled_since_ns = now


def told_lost(books: Books, client: ClientBook) -> None:
    """The client vanished."""
    client.over = True
    books.accounts.over(client.plan.terms.source)
    for moment, situation in _VANISHED.items():
        books.seen[situation] += any(frame.is_at(moment) for frame in client.unanswered.values())
