"""What must become of a frame that has just come, given the state before it came.

Why the overload policies are written down a second time: they decide whose work is thrown away, and the books suffice
to check every single decision. Trap: the step that brings a frame also fires the timers that are due, so only what the
policies decided is judged here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reidstream_server.core.faults import FaultReason
from reidstream_server.core.state import Phase
from reidstream_server.core.terms import Bound, OverloadPolicy

from .books import Books, ClientBook, FrameBook, Violation
from .parking_rule import fits, own_of
from .plan import FramePlan
from .situations import Situation


@dataclass(frozen=True, slots=True)
class Before:
    """The state a frame comes into."""

    window_frames: int
    window_bytes: int
    unstarted: tuple[FrameBook, ...]
    parked: FrameBook | None
    others_parked: bool
    queue: tuple[Held, ...]
    parking: Held
    engine_lost: bool
    refusals: Mapping[Bound, int]


@dataclass(frozen=True, slots=True)
class Held:
    """What is taken of a bound, by all, and by the one who comes."""

    most: int
    taken: int
    own: float

    def fits(self, amount: int, gone: int) -> bool:
        """Whether he may have so much more when so much of his own is gone."""
        return fits(amount, most=self.most, taken=self.taken - gone, own=self.own - gone)


def before(books: Books, client: ClientBook, plan: FramePlan, now: int) -> Before:
    """From the books, before the scheduler is told."""
    limits, flow, source = books.scenario.limits, client.flow, client.plan.terms.source
    return Before(
        window_frames=client.window_frames,
        window_bytes=client.window_bytes,
        unstarted=tuple(client.unstarted),
        parked=client.parked,
        others_parked=books.parked > (client.parked is not None),
        queue=(
            Held(limits.max_queue_boxes, books.queue_boxes, own_of(books.flow_boxes, flow)),
            Held(limits.max_queue_bytes, books.queue_bytes, own_of(books.flow_bytes, flow)),
            Held(limits.max_held_answer_bytes, books.answer_bytes, own_of(books.flow_answers, flow)),
        ),
        parking=Held(limits.max_parked_bytes, books.parked_bytes, books.source_parked[source]),
        engine_lost=any(client.models[name] in books.lost for name in plan.crops),
        refusals=books.scheduler.statistics(now).refusals,
    )


def judge(was: Before, frame: FrameBook, now: int, seen: Counter[Situation], *, others_first: bool) -> None:
    """Compare what became of the frame, and of its session's older ones, with the policy. `others_first`: somebody who
    waits goes before it.
    """
    if not frame.id_valid or frame.plan.refused or not frame.boxes:
        early = FaultReason.INVALID_FRAME_ID if not frame.id_valid else FaultReason.INVALID_ARGUMENT
        if not frame.resolved or (frame.boxes and frame.fault is not early):
            raise Violation("arrival", f"{frame} was not answered at once: {frame.fault}")
        seen[Situation.ID_INVALID] += not frame.id_valid
        seen[Situation.REFUSED] += frame.plan.refused
        seen[Situation.NO_CROPS] += frame.fault is None
        return
    if was.engine_lost:
        if frame.fault is not FaultReason.ENGINE_LOST:
            raise Violation("arrival", f"{frame} was let in, though its engine is lost")
        return
    if frame.due_ns is not None and now >= frame.due_ns:
        if frame.fault is not FaultReason.OVER_BUDGET or _dropped(was, frame):
            raise Violation("arrival", f"{frame} came over its budget: {frame.fault}; others made room for it")
        return
    expected = _window(was, frame)
    match frame.client.plan.terms.overload_policy:
        case OverloadPolicy.WAIT:
            _wait(was, frame, seen)
        case OverloadPolicy.REJECT:
            _reject(was, frame, seen, over=bool(expected), others_first=others_first)
        case OverloadPolicy.DROP_OLDEST:
            _drop_oldest(was, frame, expected, seen)


def judge_refusals(was: Before, frame: FrameBook, refusals: Mapping[Bound, int]) -> None:
    """Compare what the core has counted with what became of the frame: once for the first bound that had no room."""
    counted = {bound: refusals[bound] - was.refusals[bound] for bound in Bound if bound is not Bound.STAGED}
    policy = frame.client.plan.terms.overload_policy
    parking_full = frame.fault is FaultReason.QUEUE_FULL and policy is not OverloadPolicy.REJECT
    gone = _window(was, frame) if policy is OverloadPolicy.DROP_OLDEST else []
    more = [other for other in _dropped(was, frame) if other not in gone]
    lacking = frame.phase is Phase.PARKED or frame.fault is FaultReason.QUEUE_FULL or bool(more)
    expected: dict[Bound, int] = dict.fromkeys(counted, 0)
    if lacking and frame not in gone and not was.engine_lost:
        expected[_lacking(was, frame, gone)] = 1
        expected[Bound.PARKED] = int(parking_full)
    # What became of it in the same step: it was let in after all, or an engine died while it waited.
    waits_no_more = frame.fault is FaultReason.ENGINE_LOST if frame.resolved else frame.phase is not Phase.PARKED
    if counted != expected and not (waits_no_more and sum(counted.values()) == 1):
        raise Violation("refusals", f"{frame}: {counted} is counted; it is {expected}")


def _lacking(was: Before, frame: FrameBook, gone: list[FrameBook]) -> Bound:
    amounts = (frame.boxes, frame.plan.message_bytes, frame.plan.answer_bytes)
    names = (Bound.BOXES, Bound.BYTES, Bound.ANSWERS)
    for name, held, amount, less in zip(names, was.queue, amounts, _freed(was, frame, gone), strict=True):
        if not held.fits(amount, less):
            return name
    return Bound.TURN


def _window(was: Before, frame: FrameBook) -> list[FrameBook]:
    """The frames that must go for the window alone: the oldest that have not started, the new one last."""
    window = frame.client.plan.terms.window
    frames, size = was.window_frames + 1, was.window_bytes + frame.plan.message_bytes
    candidates = [*was.unstarted, frame]
    gone: list[FrameBook] = []
    while (frames > window.frames or (size > window.bytes and frames > 1)) and candidates:
        gone.append(candidates.pop(0))
        frames -= 1
        size -= gone[-1].plan.message_bytes
    return gone


def _fits(was: Before, frame: FrameBook, gone: list[FrameBook]) -> bool:
    """Whether the frame has room when these frames of its session are gone."""
    amounts = (frame.boxes, frame.plan.message_bytes, frame.plan.answer_bytes)
    freed = _freed(was, frame, gone)
    return all(held.fits(amount, less) for held, amount, less in zip(was.queue, amounts, freed, strict=True))


def _freed(was: Before, frame: FrameBook, gone: list[FrameBook]) -> tuple[int, int, int]:
    """What these frames of its session held of the queue's bounds."""
    queued = [other for other in gone if other is not was.parked and other is not frame]
    return (
        sum(other.boxes for other in queued),
        sum(other.plan.message_bytes for other in queued),
        sum(other.plan.answer_bytes for other in queued),
    )


def _parks(was: Before, frame: FrameBook, gone: list[FrameBook], seen: Counter[Situation]) -> bool:
    """Whether it waits for room; False if it was refused, because too much waits."""
    size = was.parked.plan.message_bytes if was.parked in gone and was.parked is not None else 0
    may = was.parking.fits(frame.plan.message_bytes, size)
    refused = frame.fault is FaultReason.QUEUE_FULL
    if may is refused:
        raise Violation("parking", f"{frame}: {frame.fault}; it may wait for room: {may}")
    seen[Situation.PARKING_FULL] += refused
    return not refused


def _wait(was: Before, frame: FrameBook, seen: Counter[Situation]) -> None:
    if was.parked is not None:
        raise Violation("parking", f"{frame} came while {was.parked} waited for room")
    waits = frame.phase is Phase.PARKED or frame.fault is FaultReason.QUEUE_FULL
    if waits and _parks(was, frame, [], seen) and not was.others_parked and _fits(was, frame, []):
        raise Violation("arrival", f"{frame} waits, though there is room")


def _reject(was: Before, frame: FrameBook, seen: Counter[Situation], *, over: bool, others_first: bool) -> None:
    if over is not (frame.fault is FaultReason.WINDOW_FULL):
        raise Violation("arrival", f"{frame}: {frame.fault}; over its window: {over}")
    if over:
        seen[Situation.WINDOW_REJECTED] += 1
        return
    fits = _fits(was, frame, [])
    rejected = frame.fault is FaultReason.QUEUE_FULL
    if rejected is (fits and not others_first):
        raise Violation("arrival", f"{frame}: {frame.fault}; there is room: {fits}, others go first: {others_first}")
    seen[Situation.QUEUE_REJECTED] += rejected


def _drop_oldest(was: Before, frame: FrameBook, expected: list[FrameBook], seen: Counter[Situation]) -> None:
    dropped = _dropped(was, frame)
    if dropped[: len(expected)] != expected:
        raise Violation("drop oldest", f"{_names(dropped)} dropped for {frame}; the window costs {_names(expected)}")
    seen[Situation.WINDOW_DROPPED] += len(expected) > (frame in expected)
    if frame in dropped:
        if frame not in expected:
            raise Violation("drop oldest", f"{frame} was dropped, though its window had room")
        seen[Situation.WINDOW_DROPPED_ITSELF] += 1
        return
    more = dropped[len(expected) :]
    waits = was.parked is not None and was.parked not in expected
    if more:
        allowed = [was.parked] if waits else [other for other in was.unstarted if other not in expected][: len(more)]
        if more != allowed or (not waits and _fits(was, frame, [*expected, *more[:-1]])):
            raise Violation("drop oldest", f"{_names(more)} dropped for {frame}; too many, or not the oldest")
        seen[Situation.PARKED_REPLACED if waits else Situation.QUEUE_DROPPED] += 1
    if frame.phase is not Phase.PARKED and frame.fault is not FaultReason.QUEUE_FULL:
        return
    if _parks(was, frame, dropped, seen) and not waits and not was.others_parked:
        older = [other for other in was.unstarted if other not in dropped]
        if older or _fits(was, frame, dropped):
            raise Violation("arrival", f"{frame} waits; there is room, or {_names(older)} could make some")


def _dropped(was: Before, frame: FrameBook) -> list[FrameBook]:
    """The frames that had not started, and that the policy has dropped."""
    return [other for other in (*was.unstarted, frame) if other.fault is FaultReason.DROPPED]


def _names(frames: list[FrameBook]) -> str:
    return ", ".join(str(frame.number) for frame in frames) or "nothing"
