"""How calls end: a count for each method and status.

Why an interceptor: the status of a call is decided in many places (a method, the guard, a bound, gRPC itself when the
client leaves), and only here all of them have been heard. It costs a call a few microseconds, and a stream's messages
nothing. Trap: whoever calls chooses the method's name, so only known ones are told apart, or there would be no end of
counts. And `context.code()` is None where nothing has set it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import product
from typing import Protocol, TypeVar

import grpc
from google.protobuf import descriptor_pool
from typing_extensions import override

from reidstream_server.transport.status import CALLS, FRAMES, INTERNAL

from .handlers import method_of, rebuilt

Q = TypeVar("Q")
A = TypeVar("A")

OTHER = "other"
"""Methods that are not offered."""

_STATUSES = tuple(
    dict.fromkeys(
        status.name
        for status in (
            grpc.StatusCode.OK,
            grpc.StatusCode.CANCELLED,
            *(status.grpc for status in (*CALLS.values(), *FRAMES.values(), INTERNAL)),
            grpc.StatusCode.UNKNOWN,
        )
    )
)
"""Every status that a call can end with here."""

_BY_NUMBER = {status.value[0]: status.name for status in grpc.StatusCode}


class _Context(Protocol):
    """What is needed of a gRPC context."""

    def code(self) -> grpc.StatusCode | int | None:
        """The status that was set; None if none was."""
        ...


class CallsEnded(grpc.aio.ServerInterceptor):
    """`hosted`: services whose methods are told apart. `own`: the port's services, each as a whole. Event loop only."""

    def __init__(self, hosted: Iterable[str], own: Iterable[str]) -> None:
        methods = {name: _methods_of(name) for name in hosted}
        self._methods = {f"/{name}/{method}": f"{name}/{method}" for name, of in methods.items() for method in of}
        self._whole = frozenset((*own, *(name for name, of in methods.items() if not of)))
        self._counts = dict.fromkeys(product((*self._methods.values(), *sorted(self._whole), OTHER), _STATUSES), 0)

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """By method and status, so far. Every pair is there from the beginning."""
        return self._counts

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        handler = await continuation(handler_call_details)
        name = self._name_of(handler_call_details.method)
        if handler is None:  # gRPC answers by itself
            self._count(name, grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        method = method_of(handler)
        if not inspect.iscoroutinefunction(method):
            return handler
        counted: grpc.RpcMethodHandler[Q, A] = rebuilt(handler, method=self._counted(method, name))
        return counted

    def _counted(
        self, method: Callable[[object, _Context], Awaitable[A]], name: str
    ) -> Callable[[object, _Context], Awaitable[A]]:
        async def call(request: object, context: _Context) -> A:
            try:
                answer = await method(request, context)
            except asyncio.CancelledError:  # its client has left, or does not take its end
                self._count(name, grpc.StatusCode.CANCELLED.name)
                raise
            except BaseException:
                self._count(name, _set_in(context) or grpc.StatusCode.UNKNOWN.name)
                raise
            self._count(name, _set_in(context) or grpc.StatusCode.OK.name)
            return answer

        return call

    def _count(self, name: str, status: str) -> None:
        key = (name, status if (name, status) in self._counts else grpc.StatusCode.UNKNOWN.name)
        self._counts[key] += 1

    def _name_of(self, path: str) -> str:
        service = path.removeprefix("/").partition("/")[0]
        return self._methods.get(path) or (service if service in self._whole else OTHER)


def _set_in(context: _Context) -> str | None:
    """The name of the status that was set."""
    code = context.code()
    if code is None or isinstance(code, grpc.StatusCode):
        return None if code is None else code.name
    return _BY_NUMBER.get(code)


def _methods_of(service: str) -> list[str]:
    """Their names, as the contract has them; none for a service that has no descriptor, which is counted as a whole."""
    try:
        found = descriptor_pool.Default().FindServiceByName(service)  # type: ignore[no-untyped-call]
    except KeyError:
        return []
    return [method.name for method in found.methods]
