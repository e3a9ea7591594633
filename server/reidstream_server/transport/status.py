"""What callers are told, for each way in which a call or a frame can fail: a row each, a column for each kind of door.

Why one table: a new refusal is written once, and no door can forget it. Trap: an exception that is not in the table is
INTERNAL (500), and its text stays in the log.

Statuses of gRPC: https://grpc.io/docs/guides/status-codes/. Of HTTP: RFC 9110 and RFC 6585; 429 is "come back later",
503 "go elsewhere".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from grpc import StatusCode

from reidstream_server.core.faults import FaultReason
from reidstream_server.errors import Refusal


@dataclass(frozen=True, slots=True)
class Status:
    """The same answer at each kind of door."""

    grpc: StatusCode
    http: HTTPStatus


INTERNAL = Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR)
STALLED = Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.REQUEST_TIMEOUT)

CALLS: Mapping[Refusal, Status] = {
    Refusal.UNAUTHENTICATED: Status(StatusCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED),
    Refusal.INVALID_CALL: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    Refusal.UNKNOWN_MODEL: Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    Refusal.WRONG_SPACE: Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    Refusal.UNKNOWN_SESSION: Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    Refusal.NOT_PERMITTED: Status(StatusCode.PERMISSION_DENIED, HTTPStatus.FORBIDDEN),
    Refusal.NO_TRACKS: Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    Refusal.STALE_EPOCH: Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    Refusal.TAKEN_OVER: Status(StatusCode.ABORTED, HTTPStatus.CONFLICT),
    Refusal.NOT_OFFERED: Status(StatusCode.UNIMPLEMENTED, HTTPStatus.NOT_IMPLEMENTED),
    Refusal.TOO_MANY_SESSIONS: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    Refusal.TOO_MANY_CALLS: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    Refusal.TOO_SLOW: Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.REQUEST_TIMEOUT),
    Refusal.TOO_LARGE: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    Refusal.RECEIVING_FULL: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    Refusal.GOING_AWAY: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
}
"""Of a call that is refused."""

FRAMES: Mapping[FaultReason, Status] = {
    FaultReason.INVALID_FRAME_ID: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.INVALID_IMAGE: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.UNSUPPORTED_IMAGE: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    FaultReason.IMAGE_TOO_LARGE: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    FaultReason.TOO_MANY_BOXES: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.ANSWER_TOO_LARGE: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.INVALID_ARGUMENT: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.DROPPED: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    FaultReason.WINDOW_FULL: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    FaultReason.QUEUE_FULL: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    FaultReason.OVER_BUDGET: Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT),
    FaultReason.STAGING_TIMEOUT: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    FaultReason.ENGINE_LOST: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    FaultReason.SHUTTING_DOWN: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    FaultReason.INTERNAL: INTERNAL,
}
"""Of a single call whose frame has a fault; a stream answers faults in-band."""
