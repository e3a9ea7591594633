"""What the client says by itself: answers of its own, and what the end of a stream means.

Trap: a server that ends a stream with OK may have kept its promises or not; only the ids tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc

from reidstream_client.errors import ReidError, SessionDrained, SessionEnded
from reidstream_client.frames.results import without_vectors
from reidstream_client.models import AgreedModel
from reidstream_client.types import ErrorReason, FrameEmbeddings, FrameFailure, Timing
from reidstream_proto.v1 import session_pb2

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


def end_of_stream(
    target: str, *, finished: bool, drain: session_pb2.Drain | None, unanswered: Sequence[int]
) -> ReidError | None:
    """What a stream that the server ended with OK means; None: all is as it should be.

    `finished`: the client had half-closed. `drain`: the server had said that it leaves.
    """
    if finished and not unanswered:
        return None
    if drain is not None:
        last = drain.last_accepted_frame_id if drain.HasField("last_accepted_frame_id") else -1
        if all(frame_id > last for frame_id in unanswered):
            rest = f"{len(unanswered)} frames are to be sent elsewhere" if unanswered else "every frame was answered"
            return SessionDrained(f"{target} is leaving ({drain_reason(drain)}); {rest}")
    return SessionEnded(f"{target} ended the stream with {len(unanswered)} frames unanswered")


def drain_reason(drain: session_pb2.Drain) -> str:
    """The reason as a word."""
    names = dict(zip(session_pb2.DrainReason.values(), session_pb2.DrainReason.keys(), strict=True))
    return names.get(drain.reason, f"reason {drain.reason}").removeprefix("DRAIN_REASON_").lower()
