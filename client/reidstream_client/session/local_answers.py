"""Answers that the client gives by itself, without the server: frames that its overload policy gave up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc

from reidstream_client.frames.results import without_vectors
from reidstream_client.models import AgreedModel
from reidstream_client.types import ErrorReason, FrameEmbeddings, FrameFailure, Timing

from .ledger import LocalAnswer

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
