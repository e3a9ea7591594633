"""Why a frame, or a crop, has no embedding, and the text of every fault that the core itself finds.

One closed set of reasons; the transports' tables turn them into wire values and status codes. The texts are here, so
that a fault reads the same whichever part of the core finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .terms import Window


class FaultReason(Enum):
    """Why a whole frame has no embeddings. The values are labels of metrics."""

    INVALID_FRAME_ID = "invalid_frame_id"
    INVALID_IMAGE = "invalid_image"
    UNSUPPORTED_IMAGE = "unsupported_image"
    IMAGE_TOO_LARGE = "image_too_large"
    TOO_MANY_BOXES = "too_many_boxes"
    ANSWER_TOO_LARGE = "answer_too_large"
    INVALID_ARGUMENT = "invalid_argument"
    DROPPED = "dropped"
    WINDOW_FULL = "window_full"
    QUEUE_FULL = "queue_full"
    OVER_BUDGET = "over_budget"
    STAGING_TIMEOUT = "staging_timeout"
    ENGINE_LOST = "engine_lost"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFault:
    """A frame's fault. The message is for people, and names the value and the limit."""

    reason: FaultReason
    message: str
    retry_after_ms: int | None = None


class CropOutcome(Enum):
    """What became of a crop of a frame without a fault."""

    EMBEDDED = "embedded"
    INVALID_IMAGE = "invalid_image"
    FAILED = "failed"


REFUSED_FOR_ROOM = frozenset({FaultReason.WINDOW_FULL, FaultReason.QUEUE_FULL})
"""Of a frame that has just come: it was read in vain."""

SESSION_LOST = FrameFault(reason=FaultReason.INTERNAL, message="the session is gone")
SHUTTING_DOWN = FrameFault(
    reason=FaultReason.SHUTTING_DOWN,
    message="the drain deadline passed before this frame was done; send it elsewhere",
)
DROPPED_BY_WINDOW = FrameFault(
    reason=FaultReason.DROPPED, message="given up for a newer frame: the session's window is full"
)
DROPPED_BY_QUEUE = FrameFault(
    reason=FaultReason.DROPPED, message="given up for a newer frame: the server's queue is full"
)


def invalid_frame_id(given: int, last: int) -> FrameFault:
    """A frame whose id does not rise."""
    message = f"frame_id {given} is not greater than {last}, the last one of this session"
    return FrameFault(reason=FaultReason.INVALID_FRAME_ID, message=message)


def staging_timeout(timeout_ns: int) -> FrameFault:
    """A frame whose pictures take too long to decode."""
    message = f"its pictures were not decoded within {timeout_ns / 1e9:g} s; send them in another format, or smaller"
    return FrameFault(reason=FaultReason.STAGING_TIMEOUT, message=message)


def parking_full(message_bytes: int, limit: int, retry_after_ms: int) -> FrameFault:
    """A frame that would have to wait for room, while what waits is too much already."""
    what = f"the queue is full, and the {message_bytes} bytes of this frame are too many to wait beside what waits"
    return _try_later(FaultReason.QUEUE_FULL, f"{what}; the limit is {limit} (max_parked_bytes)", retry_after_ms)


def window_full(window: Window, retry_after_ms: int) -> FrameFault:
    """A frame that is rejected because its session has too much unanswered."""
    message = f"the window of {window.frames} frames and {window.bytes} bytes is full"
    return _try_later(FaultReason.WINDOW_FULL, message, retry_after_ms)


def queue_full(boxes: int, limit: int, retry_after_ms: int) -> FrameFault:
    """A frame that is rejected because the server has too much to do."""
    return _try_later(FaultReason.QUEUE_FULL, f"the queue holds {boxes} of {limit} boxes", retry_after_ms)


def over_budget(budget_ns: int) -> FrameFault:
    """A frame that grew too old."""
    message = f"older than the session's latency budget of {budget_ns // 1_000_000} ms before its inference began"
    return FrameFault(reason=FaultReason.OVER_BUDGET, message=message)


def engine_lost(model: str, why: str) -> FrameFault:
    """A frame whose engine cannot go on."""
    message = f"the engine of model {model!r} cannot go on ({why}); send the frame elsewhere"
    return FrameFault(reason=FaultReason.ENGINE_LOST, message=message)


def _try_later(reason: FaultReason, message: str, retry_after_ms: int) -> FrameFault:
    message = f"{message}; try again in {retry_after_ms} ms"
    return FrameFault(reason=reason, message=message, retry_after_ms=retry_after_ms)
