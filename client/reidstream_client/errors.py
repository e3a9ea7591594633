"""Everything this package raises, and the one table from gRPC status codes to it.

    ReidError
    ├── InvalidRequest          what the caller gave cannot be sent; nothing was sent (also a ValueError)
    │   └── FrameTooLarge       larger than a message, or than the session's window, may be
    ├── ServerUnavailable       nobody answers there, or the server is starting, stopping or gone
    ├── CallTimeout             no answer in time, or the frame was older than its latency budget
    ├── CallRejected            the server refuses the call; sending it again will not help
    │   ├── ModelNotFound       no such model
    │   ├── SpaceMismatch       the model's vectors would not fit the expected space
    │   └── StaleEpoch          another stream has resumed this session since
    ├── Overloaded              the server has no room now; later it may
    ├── ServerFault             a fault of the server, in its log
    ├── ProtocolFault           the server said what the contract does not allow
    ├── SeveralModels           `.embeddings` was asked of an answer that several models gave
    ├── SessionEnded            the session is over and takes or gives no more
    │   └── SessionDrained      the server leaves: everything it accepted was answered, the rest goes elsewhere
    ├── UnreadAnswers           the caller sends, and does not take the answers
    ├── FileError               a file or folder cannot be read, or is not what it should be
    └── MissingExtra            an optional part of this package is not installed

Trap: an error of one *frame* is none of these on a stream, where it is data (`FrameEmbeddings.error`); only the single
call, whose status it is, raises it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import grpc
import grpc.aio

from reidstream_proto.v1.contract import REASON_HEADER, RETRY_AFTER_HEADER


class ReidError(Exception):
    """Root of the tree. The message is for people and says what to do next.

    `status`: the call's gRPC status; None where no server was asked. `unanswered`: on a stream, the ids of the frames
    that were taken and will not be answered, ascending; empty elsewhere.
    """

    status: grpc.StatusCode | None
    unanswered: tuple[int, ...]

    def __init__(self, message: str, *, status: grpc.StatusCode | None = None, unanswered: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.unanswered = tuple(unanswered)


class InvalidRequest(ReidError, ValueError):
    """What the caller gave cannot be sent. The message names what was given."""


class FrameTooLarge(InvalidRequest):
    """The frame exceeds a message, or the session's whole window. The message names both numbers."""


class ServerUnavailable(ReidError):
    """Nobody answers there, or the server is starting, stopping or gone."""


class CallTimeout(ReidError):
    """No answer in time."""


class CallRejected(ReidError):
    """The server refuses; `status` says in which way."""


class ModelNotFound(CallRejected):
    """The server holds no model of that name."""


class SpaceMismatch(CallRejected):
    """The model's vectors are not of the expected space."""


class StaleEpoch(CallRejected):
    """Another stream, of a newer epoch, holds this session."""


class Overloaded(ReidError):
    """The server has no room for this now. `retry_after_s`: when it may have; None where it did not say."""

    retry_after_s: float | None = None


class ServerFault(ReidError):
    """A fault of the server; its log says which."""


class ProtocolFault(ReidError):
    """The server said what the contract does not allow: it, or something between, is broken."""


class SeveralModels(ReidError):
    """One matrix was asked of an answer that several models gave; take `for_model(name)`."""


class SessionEnded(ReidError):
    """The session is over."""


class SessionDrained(SessionEnded):
    """The server leaves. Every frame that it accepted was answered; `unanswered` are to be sent elsewhere."""


class UnreadAnswers(ReidError):
    """Too many answers wait to be taken; iterate over the session while sending."""


class FileError(ReidError):
    """A file or folder cannot be read or written, or is not what it should be. The message names it."""


class MissingExtra(ReidError):
    """An optional part is not installed. The message holds the line that installs it."""


ERROR_OF_STATUS: Mapping[grpc.StatusCode, type[ReidError]] = MappingProxyType(
    {
        grpc.StatusCode.CANCELLED: SessionEnded,
        grpc.StatusCode.UNKNOWN: ServerFault,
        grpc.StatusCode.INVALID_ARGUMENT: CallRejected,
        grpc.StatusCode.DEADLINE_EXCEEDED: CallTimeout,
        grpc.StatusCode.NOT_FOUND: ModelNotFound,
        grpc.StatusCode.ALREADY_EXISTS: CallRejected,
        grpc.StatusCode.PERMISSION_DENIED: CallRejected,
        grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        grpc.StatusCode.FAILED_PRECONDITION: SpaceMismatch,
        grpc.StatusCode.ABORTED: ServerUnavailable,
        grpc.StatusCode.OUT_OF_RANGE: CallRejected,
        grpc.StatusCode.UNIMPLEMENTED: CallRejected,
        grpc.StatusCode.INTERNAL: ServerFault,
        grpc.StatusCode.UNAVAILABLE: ServerUnavailable,
        grpc.StatusCode.DATA_LOSS: ServerFault,
        grpc.StatusCode.UNAUTHENTICATED: CallRejected,
    }
)


# Where a status alone does not say which: the server's word beside it.
_ERROR_OF_REASON: Mapping[str, type[ReidError]] = MappingProxyType({"stale_epoch": StaleEpoch})


def from_status(failed: grpc.aio.AioRpcError, *, target: str, hint: str) -> ReidError:
    """The error of a call to `target` that did not end with OK. `hint`: what to check where nobody answered."""
    trailers: Iterable[tuple[str, str | bytes]] = failed.trailing_metadata() or ()
    said = {name: value for name, value in trailers if isinstance(value, str)}
    return error_of(failed.code(), failed.details() or "", said, target=target, hint=hint)


def error_of(status: grpc.StatusCode, details: str, said: Mapping[str, str], *, target: str, hint: str) -> ReidError:
    """The same, by its parts. `said`: trailing metadata that is text."""
    reason = said.get(REASON_HEADER, "")
    kind = _ERROR_OF_REASON.get(reason, ERROR_OF_STATUS[status])
    message = f"{target}: {details or status.name}"
    if kind is ServerUnavailable and not reason:
        message += f" ({hint})"
    error = kind(message, status=status)
    retry_after_ms = said.get(RETRY_AFTER_HEADER, "")
    if isinstance(error, Overloaded) and retry_after_ms.isdecimal():
        error.retry_after_s = int(retry_after_ms) / 1000
    return error
