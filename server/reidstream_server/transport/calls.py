"""How a call ends that does not end well: one way for every method.

Trap: gRPC has exceptions of its own. `abort` raises one that must reach gRPC as it is; the one for a client that has
left comes out of whatever is written last, and would be logged as a fault of ours.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn, Protocol, TypeVar

import grpc

from reidstream_server.errors import CallRefused, InvalidCall, Refusal
from reidstream_server.logs import get_logger

from .status import call_status, status_details

log = get_logger(__name__)

M = TypeVar("M")

# Of the trailing metadata; see service.proto.
_REASON_HEADER = "reidstream-reason"
_RETRY_HEADER = "reidstream-retry-after-ms"


class Abortable(Protocol):
    """What is needed of a gRPC context."""

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, str], ...]
    ) -> NoReturn:
        """Send the status, and raise."""
        ...


def understood(request: M | None) -> M:
    """Raises InvalidCall for bytes of which no request could be made; the endpoint hands them on as None."""
    if request is None:
        raise InvalidCall("the message cannot be parsed: its bytes are not a request of this method")
    return request


class CallObserver(Protocol):
    """Is told what happens to calls, for the metrics. Called on the event loop."""

    def call_refused(self, refusal: Refusal) -> None:
        """A call ends with a refusal."""
        ...


async def refuse(context: Abortable, error: Exception, observer: CallObserver) -> NoReturn:
    """End a call that an exception has ended."""
    match error:
        case CallRefused():
            observer.call_refused(error.refusal)
            await abort(context, call_status(error), str(error), reason=error.refusal.value)
        case grpc.aio.InternalError():
            raise _gone() from error
        case grpc.aio.BaseError():
            raise error
        case _:
            log.failure("call_failed", error)
            message = "a fault of the server, which is in its log"
            await abort(context, grpc.StatusCode.INTERNAL, message, reason="internal")


async def abort(
    context: Abortable, code: grpc.StatusCode, message: str, *, reason: str, retry_after_ms: int | None = None
) -> NoReturn:
    """Send a status, and beside it for programs why, and when to come back. Always raises."""
    retry = () if retry_after_ms is None else ((_RETRY_HEADER, str(retry_after_ms)),)
    try:
        await context.abort(code, status_details(message), ((_REASON_HEADER, reason), *retry))
    except grpc.aio.InternalError as error:
        raise _gone() from error


def _gone() -> asyncio.CancelledError:
    """What a handler ends with whose client has left. gRPC cancels it, or fails its writes, whichever comes first; by
    itself it takes the second for a fault of ours, and logs a traceback.
    """
    return asyncio.CancelledError("the client is gone")
