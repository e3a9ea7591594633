"""A call that ends with an error keeps nothing of what it held.

Why: gRPC keeps the exception of an aborted call beside the call's context. An exception holds its traceback, a
traceback its frames, and a frame its variables: the message, the context, tasks that failed with the same exception.
That is a ring, which stays until Python looks for rings, and Python does so by the number of objects, not by their
size: six refused messages of 24 MiB were 1.9 GB for minutes, with all connections closed. So tracebacks end here, in
one place for every method of every service. Nobody needs them any more: what is a fault of ours has been logged.

Trap: it must be the outermost interceptor, or frames of others would be held.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from typing_extensions import override

from .handlers import method_of, rebuilt

Q = TypeVar("Q")
A = TypeVar("A")


class Forgetting(grpc.aio.ServerInterceptor):
    """Drops the tracebacks of calls that end with an exception. Once per call; a stream's messages do not pass here."""

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = method_of(handler)
        if not inspect.iscoroutinefunction(method):
            return handler
        forgetting: grpc.RpcMethodHandler[Q, A] = rebuilt(handler, method=_forgetting(method))
        return forgetting


def _forgetting(method: Callable[[object, object], Awaitable[A]]) -> Callable[[object, object], Awaitable[A]]:
    async def call(request: object, context: object) -> A:
        try:
            return await method(request, context)
        except BaseException as error:
            forget(error)
            del request, context  # this frame is the one that stays
            raise

    return call


def forget(error: BaseException) -> None:
    """Drop the traceback of an exception, and of all that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        waiting += [one.__context__, one.__cause__]
        one.__context__ = one.__cause__ = None
