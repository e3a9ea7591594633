"""Everything this package raises, and the one table from gRPC status codes to it.

    ReidError
    ├── InvalidRequest          the caller gave something that cannot be sent; nothing was sent (also a ValueError)
    │   ├── FrameTooLarge       the frame is larger than a message or the session's window may be
    │   └── UnknownOption       there is no option of that name (also a TypeError)
    ├── ServerUnavailable       nobody answers there, or the server is starting, stopping or gone
    ├── CallTimeout             no answer in time, or the frame was older than its latency budget
    ├── CallRejected            the server refuses the call; sending it again will not help
    │   ├── ModelNotFound       no such model
    │   ├── SpaceMismatch       the model's vectors are of another space than expected
    │   └── StaleEpoch          another stream has resumed this session since
    ├── Overloaded              the server has no room now; later it may
    ├── ServerFault             internal error of the server; its log has the details
    ├── ProtocolFault           the server's answer breaks the contract
    ├── SeveralModels           an answer of several models has no single `.embeddings`
    ├── SessionEnded            the session is over
    │   └── SessionDrained      the server is leaving: it has answered all that it accepted; send the rest elsewhere
    ├── WrongPlace              the client cannot work here: another process, event loop or thread than its own
    ├── UnreadAnswers           the caller sends frames and does not take the answers
    ├── FileError               a file or folder cannot be read or written, or has the wrong content
    └── MissingExtra            an optional part of this package is not installed

Trap: on a stream, the error of one *frame* is data (`FrameEmbeddings.error`). Only a single call raises it, as the
call's status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import grpc
import grpc.aio

from reidstream_proto.v1.contract import REASON_HEADER, RETRY_AFTER_HEADER

CLOSED: Final = "this client is closed: make another one, or close it later"


class ReidError(Exception):
    """Root of the tree. The message is for people and says what to do next.

    `status`: the call's gRPC status; None if no server was asked. `unanswered`: on a stream, the ids of the frames that
    were taken and will not be answered, ascending; otherwise empty. `cut_off`: the call was ended by something that did
    not say why, such as a proxy or an overwhelmed server, and not by this client.
    """

    status: grpc.StatusCode | None
    unanswered: tuple[int, ...]
    cut_off: bool = False

    def __init__(self, message: str, *, status: grpc.StatusCode | None = None, unanswered: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.unanswered = tuple(unanswered)


class InvalidRequest(ReidError, ValueError):
    """The caller gave something that cannot be sent. The message names it."""


class FrameTooLarge(InvalidRequest):
    """The frame is larger than a message or the session's whole window. The message has both numbers."""


class UnknownOption(InvalidRequest, TypeError):
    """There is no option of that name. The message has those that there are."""


class ServerUnavailable(ReidError):
    """Nobody answers there, or the server is starting, stopping or gone."""


class CallTimeout(ReidError):
    """No answer in time."""


class CallRejected(ReidError):
    """The server refuses the call; `status` says how."""


class ModelNotFound(CallRejected):
    """The server has no model of that name."""


class SpaceMismatch(CallRejected):
    """The model's vectors are of another space than expected."""


class StaleEpoch(CallRejected):
    """A newer stream has resumed this session."""


class Overloaded(ReidError):
    """The server has no room for this now. `retry_after_s`: when to try again; None if it did not say."""

    retry_after_s: float | None = None


class ServerFault(ReidError):
    """Internal error of the server; its log has the details."""


class ProtocolFault(ReidError):
    """The server's answer breaks the contract: the server, or something on the way to it, is broken."""


class SeveralModels(ReidError):
    """The answer is of several models, so there is no single matrix; use `for_model(name)`."""


class SessionEnded(ReidError):
    """The session is over."""


class SessionDrained(SessionEnded):
    """The server is leaving. It has answered every frame that it accepted; send those in `unanswered` elsewhere."""


class WrongPlace(ReidError):
    """The client cannot work here: another process, event loop or thread than its own. The message has the way out."""


class UnreadAnswers(ReidError):
    """Too many answers wait to be taken; iterate over the session while sending."""


class FileError(ReidError):
    """A file or folder cannot be read or written, or has the wrong content. The message names it."""


class MissingExtra(ReidError):
    """An optional part is not installed. The message has the command that installs it."""


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


# Where the status alone is ambiguous, the server's reason decides.
_ERROR_OF_REASON: Mapping[str, type[ReidError]] = MappingProxyType(
    {"stale_epoch": StaleEpoch, "unknown_session": CallRejected}
)


# What gRPC itself says, on either side; older versions do not say on which.
_TOO_LARGE = re.compile(
    r"(?P<side>CLIENT: )?(?P<what>Sent|Received) message larger than max \((?P<size>\d+) vs\. (?P<most>\d+)\)"
)


_RESET = "RST_STREAM"  # how gRPC names a call that was cut off below it, whatever the status
_BY_US = "Locally cancelled"


def from_status(failed: grpc.aio.AioRpcError, *, target: str, hint: str) -> ReidError:
    """The error of a call to `target` that did not end with OK. `hint`: what to check if nobody answered."""
    trailers: Iterable[tuple[str, str | bytes]] = failed.trailing_metadata() or ()
    said = {name: value for name, value in trailers if isinstance(value, str)}
    return error_of(failed.code(), failed.details() or "", said, target=target, hint=hint)


def error_of(status: grpc.StatusCode, details: str, said: Mapping[str, str], *, target: str, hint: str) -> ReidError:
    """The same, by its parts. `said`: trailing metadata that is text."""
    reason = said.get(REASON_HEADER, "")
    sizes = _TOO_LARGE.search(details)
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED and not reason and sizes is not None:
        return _too_large(f"{target}: ", sizes, status)
    kind = _ERROR_OF_REASON.get(reason, ERROR_OF_STATUS[status])
    message = f"{target}: {details or status.name}"
    if kind is ServerUnavailable and not reason:
        message += f" ({hint})"
    error = kind(message, status=status)
    error.cut_off = not reason and _is_cut_off(status, details)
    retry_after_ms = said.get(RETRY_AFTER_HEADER, "")
    if isinstance(error, Overloaded) and retry_after_ms.isdecimal():
        error.retry_after_s = int(retry_after_ms) / 1000
    return error


def _is_cut_off(status: grpc.StatusCode, details: str) -> bool:
    cancelled = status is grpc.StatusCode.CANCELLED and not details.startswith(_BY_US)
    return cancelled or _RESET in details


def _too_large(where: str, sizes: re.Match[str], status: grpc.StatusCode) -> ReidError:
    """Why apart: gRPC gives it the status of a server without room, but trying again will not help."""
    size, most = sizes["size"], sizes["most"]
    match (sizes["side"] is not None, sizes["what"]):
        case (True, "Received"):
            text = f"the answer has {size} bytes, and this client takes at most {most}: raise its max_message_bytes"
        case (False, "Sent"):
            text = f"the answer has {size} bytes, and the server sends at most {most}: send fewer boxes in a frame"
        case _:
            return FrameTooLarge(f"{where}{too_large_text(int(size), int(most))}", status=status)
    return CallRejected(where + text, status=status)


def too_large_text(size: int, most: int) -> str:
    """A message of `size` bytes where `most` may be sent, and what to do."""
    return (
        f"the frame's message has {size} bytes, and at most {most} are read: send the picture encoded, "
        "or raise the server's limit (--max-message-bytes) and the client's (max_message_bytes)"
    )
