"""Answers that the client gives by itself, without the server: frames that its overload policy gave up, and frames that
became too old without an answer.

Why the second kind: a server that is frozen, unreachable or starting again says nothing, and the caller's budget counts
all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc

from reidstream_client.frames.results import without_vectors
from reidstream_client.models import AgreedModel
from reidstream_client.types import ErrorReason, FrameEmbeddings, FrameFailure, Timing

from .ledger import LocalAnswer
from .opening import SessionInfo

_FAILURES: Final[Mapping[LocalAnswer, FrameFailure]] = {
    LocalAnswer.DROPPED: FrameFailure(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason=ErrorReason.DROPPED,
        message="a newer frame took its place while the session's window was full",
    ),
    LocalAnswer.WINDOW_FULL: FrameFailure(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason=ErrorReason.WINDOW_FULL,
        message="the session's window was full",
    ),
}


def local_result(frame_id: int, answer: LocalAnswer, boxes: int, models: Sequence[AgreedModel]) -> FrameEmbeddings:
    """The answer to a frame that was never sent."""
    return without_vectors(frame_id, boxes, models, error=_FAILURES[answer], timing=Timing(), local=True)


class Budget:
    """How long the answers of a session are worth waiting for, as agreed. `grace_s`: on top, for the way back."""

    def __init__(self, opened: SessionInfo, grace_s: float) -> None:
        self._models = opened.models
        self._budget_s = opened.latency_budget_s
        self._grace_s = grace_s

    def send_until(self, captured_s: float) -> float | None:
        """Until when a frame may be sent, by `time.monotonic()`: a server only refuses an older one. None: for ever."""
        return None if self._budget_s is None else captured_s + self._budget_s

    def wait_until(self, captured_s: float) -> float | None:
        """Until when an answer may come; then the client answers. None: for ever."""
        return None if self._budget_s is None else captured_s + self._budget_s + self._grace_s

    def over(self, frame_id: int, boxes: int, captured_s: float, now_s: float) -> FrameEmbeddings:
        """The answer to a frame that nobody else answered in time."""
        message = (
            f"the frame is {now_s - captured_s:.3f} s old, its latency budget is {self._budget_s} s, and the server "
            "has not answered it; is the server busy, or out of reach?"
        )
        failure = FrameFailure(code=grpc.StatusCode.DEADLINE_EXCEEDED, reason=ErrorReason.OVER_BUDGET, message=message)
        return without_vectors(frame_id, boxes, self._models, error=failure, timing=Timing(), local=True)
