"""The one table from what went wrong to gRPC status codes, and to the wire's reasons.

Trap: an exception that is not in the table is INTERNAL, and its text stays in the log.
"""

from __future__ import annotations

from typing import assert_never

import grpc

from reidstream_proto.v1 import frame_pb2
from reidstream_server.core.effects import EndCause
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.errors import (
    CallRefused,
    GoingAway,
    InvalidCall,
    NotOffered,
    StaleEpoch,
    TakenOver,
    TooManySessions,
    Unauthenticated,
    UnknownModel,
    WrongSpace,
)

_MAX_DETAILS_BYTES = 2000  # on the wire each may become three, of the 8 KiB that gRPC takes without complaint

_CALLS: dict[type[CallRefused], grpc.StatusCode] = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    InvalidCall: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    WrongSpace: grpc.StatusCode.FAILED_PRECONDITION,
    StaleEpoch: grpc.StatusCode.FAILED_PRECONDITION,
    TakenOver: grpc.StatusCode.ABORTED,
    NotOffered: grpc.StatusCode.UNIMPLEMENTED,
    TooManySessions: grpc.StatusCode.RESOURCE_EXHAUSTED,
    GoingAway: grpc.StatusCode.UNAVAILABLE,
}

_FRAMES: dict[FaultReason, tuple[grpc.StatusCode, frame_pb2.ErrorReason.ValueType]] = {
    FaultReason.INVALID_FRAME_ID: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_INVALID_FRAME_ID),
    FaultReason.INVALID_IMAGE: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_INVALID_IMAGE),
    FaultReason.UNSUPPORTED_IMAGE: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_UNSUPPORTED_IMAGE),
    FaultReason.IMAGE_TOO_LARGE: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE),
    FaultReason.TOO_MANY_BOXES: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_TOO_MANY_BOXES),
    FaultReason.ANSWER_TOO_LARGE: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_ANSWER_TOO_LARGE),
    FaultReason.INVALID_ARGUMENT: (grpc.StatusCode.INVALID_ARGUMENT, frame_pb2.ERROR_REASON_INVALID_ARGUMENT),
    FaultReason.DROPPED: (grpc.StatusCode.RESOURCE_EXHAUSTED, frame_pb2.ERROR_REASON_DROPPED),
    FaultReason.WINDOW_FULL: (grpc.StatusCode.RESOURCE_EXHAUSTED, frame_pb2.ERROR_REASON_WINDOW_FULL),
    FaultReason.QUEUE_FULL: (grpc.StatusCode.RESOURCE_EXHAUSTED, frame_pb2.ERROR_REASON_QUEUE_FULL),
    FaultReason.OVER_BUDGET: (grpc.StatusCode.DEADLINE_EXCEEDED, frame_pb2.ERROR_REASON_OVER_BUDGET),
    FaultReason.ENGINE_LOST: (grpc.StatusCode.UNAVAILABLE, frame_pb2.ERROR_REASON_ENGINE_LOST),
    FaultReason.SHUTTING_DOWN: (grpc.StatusCode.UNAVAILABLE, frame_pb2.ERROR_REASON_SHUTTING_DOWN),
    FaultReason.INTERNAL: (grpc.StatusCode.INTERNAL, frame_pb2.ERROR_REASON_INTERNAL),
}


def call_status(refused: CallRefused) -> grpc.StatusCode:
    """The status that ends a call."""
    return _CALLS[type(refused)]


def end_status(cause: EndCause) -> tuple[grpc.StatusCode, str] | None:
    """The status of a stream whose session has ended; None for OK."""
    match cause:
        case EndCause.FINISHED | EndCause.DRAINED:
            return None
        case EndCause.STALLED:
            return grpc.StatusCode.DEADLINE_EXCEEDED, "the client has not read its answers for too long"
        case _:
            assert_never(cause)


def status_details(text: str) -> str:
    """A status's message, cut to what surely fits: it may quote the client, and headers that are too long lose all."""
    data = text.encode()
    return text if len(data) <= _MAX_DETAILS_BYTES else data[:_MAX_DETAILS_BYTES].decode(errors="ignore") + "..."


def frame_status(fault: FrameFault) -> grpc.StatusCode:
    """The status of a unary call whose frame has this fault."""
    return _FRAMES[fault.reason][0]


def frame_error(fault: FrameFault) -> frame_pb2.FrameError:
    """The fault on the wire."""
    code, reason = _FRAMES[fault.reason]
    number: int = code.value[0]
    return frame_pb2.FrameError(code=number, reason=reason, message=fault.message, retry_after_ms=fault.retry_after_ms)
