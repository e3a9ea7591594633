"""What must become of a frame that has just come, given the state before it came.

Why the overload policies are written down a second time: they decide whose work is thrown away, and the books suffice
to check every single decision. Trap: the step that brings a frame also fires the timers that are due, so only what the
policies decided is judged here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from reidstream_server.core.faults import FaultReason
from reidstream_server.core.state import Phase
from reidstream_server.core.terms import OverloadPolicy

from .books import Books, ClientBook, FrameBook, Violation
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
    free_boxes: int
    free_bytes: int
    engine_lost: bool


def before(books: Books, client: ClientBook, plan: FramePlan) -> Before:
    """From the books, before the scheduler is told. Free is what the camera may still take."""
    limits = books.scenario.limits
    return Before(
        window_frames=client.window_frames,
        window_bytes=client.window_bytes,
        unstarted=tuple(client.unstarted),
        parked=client.parked,
        others_parked=books.parked > (client.parked is not None),
        free_boxes=limits.max_queue_boxes - books.queue_boxes - books.flow_boxes[client.flow],
        free_bytes=limits.max_queue_bytes - books.queue_bytes - books.flow_bytes[client.flow],
        engine_lost=any(client.models[name] in books.lost for name in plan.crops),
    )


def judge(was: Before, frame: FrameBook, now: int, seen: Counter[Situation]) -> None:
    """Compare what became of the frame, and of its session's older ones, with the policy."""
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
            _wait(was, frame)
        case OverloadPolicy.REJECT:
            _reject(was, frame, seen, over=bool(expected))
        case OverloadPolicy.DROP_OLDEST:
            _drop_oldest(was, frame, expected, seen)


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
    """Whether the frame has room when these frames of its session are gone. A camera's own boxes count twice: it holds
    them, and they are not free.
    """
    queued = [other for other in gone if other is not was.parked and other is not frame]
    boxes = was.free_boxes + 2 * sum(other.boxes for other in queued)
    size = was.free_bytes + 2 * sum(other.plan.message_bytes for other in queued)
    return frame.boxes <= boxes and frame.plan.message_bytes <= size


def _wait(was: Before, frame: FrameBook) -> None:
    if was.parked is not None:
        raise Violation("parking", f"{frame} came while {was.parked} waited for room")
    if not was.others_parked and _fits(was, frame, []) and frame.phase is Phase.PARKED:
        raise Violation("arrival", f"{frame} waits, though there is room")


def _reject(was: Before, frame: FrameBook, seen: Counter[Situation], *, over: bool) -> None:
    if over is not (frame.fault is FaultReason.WINDOW_FULL):
        raise Violation("arrival", f"{frame}: {frame.fault}; over its window: {over}")
    if over:
        seen[Situation.WINDOW_REJECTED] += 1
        return
    fits = _fits(was, frame, [])
    rejected = frame.fault is FaultReason.QUEUE_FULL
    if (not fits and not rejected) or (fits and not was.others_parked and rejected):
        raise Violation("arrival", f"{frame}: {frame.fault}; there is room: {fits}, others wait: {was.others_parked}")
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
    if frame.phase is Phase.PARKED and not waits and not was.others_parked:
        older = [other for other in was.unstarted if other not in dropped]
        if older or _fits(was, frame, dropped):
            raise Violation("arrival", f"{frame} waits; there is room, or {_names(older)} could make some")


def _dropped(was: Before, frame: FrameBook) -> list[FrameBook]:
    """The frames that had not started, and that the policy has dropped."""
    return [other for other in (*was.unstarted, frame) if other.fault is FaultReason.DROPPED]


def _names(frames: list[FrameBook]) -> str:
    return ", ".join(str(frame.number) for frame in frames) or "nothing"
