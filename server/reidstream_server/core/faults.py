"""Why a frame, or a crop, has no embedding.

One closed set of reasons; the transports' tables turn them into wire values and status codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FaultReason(Enum):
    """Why a whole frame has no embeddings. The values are metric labels."""

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
    ENGINE_LOST = "engine_lost"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFault:
    """A frame's fault; the message is for people, with the value and the limit."""

    reason: FaultReason
    message: str
    retry_after_ms: int | None = None


class CropOutcome(Enum):
    """What became of a crop of a frame without a fault."""

    EMBEDDED = "embedded"
    INVALID_IMAGE = "invalid_image"
    FAILED = "failed"
