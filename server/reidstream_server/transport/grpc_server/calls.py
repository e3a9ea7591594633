"""How a call ends with a status: one way for every method of every hosted service.

Trap: gRPC has exceptions of its own. `abort` raises one that must reach gRPC as it is. The one for a client that has
left comes out of whatever is written last, and would be logged as a fault of ours.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, Protocol, TypeVar

import grpc

from reidstream_proto.v1 import contract
from reidstream_server.core.effects import EndCause
from reidstream_server.errors import CallRefused, Refusal
from reidstream_server.logs import get_logger
from reidstream_server.transport.status import CALLS, INTERNAL, STALLED

from .endings import begin_end, this_task

log = get_logger(__name__)

A_contra = TypeVar("A_contra", contravariant=True)

_MAX_DETAILS_BYTES = 2000  # on the wire each may become three, of the 8 KiB that gRPC takes without complaint


class Abortable(Protocol):
    """What is needed of a gRPC context."""

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, str], ...]
    ) -> NoReturn:
        """Send the status, and raise."""
        ...


class Writable(Protocol[A_contra]):
    """What is needed of a gRPC context to write."""

    def write(self, message: A_contra) -> Awaitable[None]:
        """Hand a message to gRPC; it returns when the client's window has let it out."""
        ...


class CallObserver(Protocol):
    """Is told what happens to calls, for the metrics. Called on the event loop."""

    __slots__ = ()

    @abstractmethod
    def call_refused(self, refusal: Refusal) -> None:
        """A call ends with a refusal."""
        ...


async def refuse(context: Abortable, error: Exception, observer: CallObserver) -> NoReturn:
    """End a call that an exception has ended."""
    match error:
        case CallRefused():
            observer.call_refused(error.refusal)
            await abort(context, CALLS[error.refusal].grpc, str(error), reason=error.refusal.value)
        case grpc.aio.InternalError():
            raise _gone() from error
        case grpc.aio.BaseError():
            raise error
        case _:
            log.failure("call_failed", error)
            await abort(context, INTERNAL.grpc, "internal error; the server's log has the details", reason="internal")


async def abort(
    context: Abortable, code: grpc.StatusCode, message: str, *, reason: str, retry_after_ms: int | None = None
) -> NoReturn:
    """Send a status; beside it, for programs, why and when to come back. Always raises."""
    begin_end()
    retry = () if retry_after_ms is None else ((contract.RETRY_AFTER_HEADER, str(retry_after_ms)),)
    try:
        await context.abort(code, status_details(message), ((contract.REASON_HEADER, reason), *retry))
    except grpc.aio.InternalError as error:
        raise _gone() from error
    except grpc.aio.AbortError as error:
        this_task().add_done_callback(partial(_forget, error))
        raise


def _forget(error: BaseException, _: object) -> None:
    """Let go of what an exception refers to. gRPC keeps it with its call, and it refers to the call and to messages:
    they would stay until the next garbage collection.
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None


def when_over(act: Callable[[bool], object]) -> None:
    """Do it when the call of this task is over, and say whether its answer was written."""
    this_task().add_done_callback(lambda task: act(not task.cancelled()))


async def written(context: Writable[A_contra], message: A_contra, timeout_s: float) -> None:
    """Write a message that its client must take in time. One who does not is treated as one who has left: no status can
    pass a message that waits, so the call is hung up (see `endings`).
    """
    if not await is_taken(context, message, timeout_s):
        raise _gone()


async def is_taken(context: Writable[A_contra], message: A_contra, timeout_s: float) -> bool:
    """Write a message; False if the client does not take it in time.

    Trap: no `asyncio.wait_for`. On Python 3.11 it drops a cancellation that comes just when the write is done, and the
    call that was to end goes on.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await context.write(message)
    except TimeoutError:
        return False
    return True


async def abort_stalled(context: Abortable) -> NoReturn:
    """End a stream whose client does not read. Always raises."""
    message = "the client has not read its answers for too long"
    await abort(context, STALLED.grpc, message, reason=EndCause.STALLED.value)


def status_details(text: str) -> str:
    """A status's message, cut to what surely fits. It may quote the client, and headers that are too long lose all."""
    data = text.encode()
    return text if len(data) <= _MAX_DETAILS_BYTES else data[:_MAX_DETAILS_BYTES].decode(errors="ignore") + "..."


def _gone() -> asyncio.CancelledError:
    """How a handler ends whose client has left. gRPC cancels it, or fails its writes, whichever comes first; by itself
    it takes the second for a fault of ours, and logs a traceback.
    """
    return asyncio.CancelledError("the client is gone")
