"""What an answer must say, and whose turn it is.

Trap: the answer to a frame that the transport refused has no payload. In order, its place tells which frame it is.
"""

from __future__ import annotations

from reidstream_server.core.effects import Answer
from reidstream_server.core.faults import FaultReason
from reidstream_server.core.terms import Ordering, OverloadPolicy

from .books import DECIDED, Books, ClientBook, FrameBook, Pixels, Violation
from .situations import Situation


def answered_frame(books: Books, client: ClientBook, effect: Answer[FrameBook]) -> FrameBook:
    first = next(iter(client.unanswered.values()), None)
    if first is None:
        raise Violation("exactly once", f"{effect} of {client}, which has nothing unanswered")
    match client.plan.terms.ordering:
        case Ordering.IN_ORDER:
            if effect.frame_id != first.plan.frame_id or effect.payload is not (None if first.plan.refused else first):
                raise Violation("order", f"frame {effect.frame_id} was answered; the next is {first}")
            return first
        case Ordering.AS_COMPLETED:
            for frame in client.unanswered.values():
                if frame is effect.payload or (
                    effect.payload is None and frame.plan.refused and frame.plan.frame_id == effect.frame_id
                ):
                    books.seen[Situation.ANSWER_OVERTOOK] += frame is not first
                    return frame
            raise Violation("exactly once", f"{effect} was answered before, or never asked for")


def check_outcome(books: Books, frame: FrameBook, effect: Answer[FrameBook], now: int) -> None:
    """The answer says what happened to the frame."""
    if effect.fault is None:
        if frame.undecided:
            raise Violation("outcome", f"{frame} was answered with {frame.undecided} crops undecided")
        expected = tuple(DECIDED[crop] for crop in frame.crops)
        if not frame.id_valid or frame.plan.refused or frame.pixels is Pixels.FAILED or effect.outcomes != expected:
            raise Violation("outcome", f"{frame} was answered {effect.outcomes}; it should be {expected}")
        return
    if effect.outcomes or not _justified(books, frame, effect.fault.reason, now):
        raise Violation("outcome", f"{frame} was answered {effect.fault}")


def _justified(books: Books, frame: FrameBook, reason: FaultReason, now: int) -> bool:
    """Whether a frame may be answered with this fault."""
    client, policy = frame.client, frame.client.plan.terms.overload_policy
    first = None if frame.id_valid else FaultReason.INVALID_FRAME_ID
    if first is None and frame.plan.refused:
        first = FaultReason.INVALID_ARGUMENT
    if first is not None:
        return reason is first
    reasons = {
        FaultReason.DROPPED: policy is OverloadPolicy.DROP_OLDEST and frame.pixels is Pixels.NOWHERE,
        FaultReason.WINDOW_FULL: policy is OverloadPolicy.REJECT and frame.pixels is Pixels.NOWHERE,
        FaultReason.QUEUE_FULL: frame.pixels is Pixels.NOWHERE,  # see `arrival_rule`
        FaultReason.STAGING_TIMEOUT: frame.given_up,
        FaultReason.OVER_BUDGET: frame.due_ns is not None and now >= frame.due_ns and not frame.begun,
        FaultReason.ENGINE_LOST: any(model in books.lost for model in frame.models),
        FaultReason.SHUTTING_DOWN: client.drain_ns is not None and now >= client.drain_ns,
        FaultReason.INVALID_IMAGE: frame.pixels is Pixels.FAILED,
    }
    return reasons.get(reason, False)
