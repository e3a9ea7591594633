"""How calls end: a count for each method and status, and for whoever wants it how long each call took.

Why an interceptor: the status of a call is decided in many places (a method, the guard, a bound, gRPC itself when the
client leaves), and only here all of them have been heard. It costs a call a few microseconds, and a stream's messages
nothing. Trap: whoever calls chooses the method's name, so only known ones are told apart, or there would be no end of
counts. And `context.code()` is None where nothing has set it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
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


class CallDurations(Protocol):
    """Is told how long calls took, for the metrics. Called on the event loop."""

    __slots__ = ()

    @abstractmethod
    def offered(self, methods: Sequence[str]) -> None:
        """These are all methods that there are, as "package.Service/Method"."""
        ...

    @abstractmethod
    def took(self, method: str | None, status: str, seconds: float) -> None:
        """A call is over. `method`: None if it is none of those. `status`: gRPC's name."""
        ...


class CallsEnded(grpc.aio.ServerInterceptor):
    """`hosted`: services whose methods are told apart. `own`: the port's services, each counted as a whole.

    `durations`: who wants to know how long calls took, of each method of both. Event loop only.
    """

    def __init__(self, hosted: Iterable[str], own: Sequence[str], durations: CallDurations | None = None) -> None:
        methods = {name: _methods_of(name) for name in hosted}
        self._methods = _by_path(methods)
        self._whole = frozenset((*own, *(name for name, of in methods.items() if not of)))
        self._counts = dict.fromkeys(product((*self._methods.values(), *sorted(self._whole), OTHER), _STATUSES), 0)
        self._durations = durations
        self._timed: Mapping[str, str] = {}
        if durations is not None:
            self._timed = self._methods | _by_path({name: _methods_of(name) for name in own})
            durations.offered(tuple(self._timed.values()))

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
        ended = self._begun(handler_call_details.method)
        handler = await continuation(handler_call_details)
        if handler is None:  # gRPC answers by itself
            ended(grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        method = method_of(handler)
        if not inspect.iscoroutinefunction(method):
            return handler
        counted: grpc.RpcMethodHandler[Q, A] = rebuilt(handler, method=_counted(method, ended))
        return counted

    def _begun(self, path: str) -> Callable[[str], object]:
        """A call comes; what is returned takes the status that it ends with."""
        name, durations = self._name_of(path), self._durations
        if durations is None:
            return partial(self._count, name)
        began_s = time.monotonic()

        def ended(status: str) -> None:
            durations.took(self._timed.get(path), self._count(name, status), time.monotonic() - began_s)

        return ended

    def _count(self, name: str, status: str) -> str:
        """The status under which it was counted: one of the closed set."""
        known = status if (name, status) in self._counts else grpc.StatusCode.UNKNOWN.name
        self._counts[name, known] += 1
        return known

    def _name_of(self, path: str) -> str:
        service = path.removeprefix("/").partition("/")[0]
        return self._methods.get(path) or (service if service in self._whole else OTHER)


def _counted(
    method: Callable[[object, _Context], Awaitable[A]], ended: Callable[[str], object]
) -> Callable[[object, _Context], Awaitable[A]]:
    async def call(request: object, context: _Context) -> A:
        try:
            answer = await method(request, context)
        except asyncio.CancelledError:  # its client has left, or does not take its end
            ended(grpc.StatusCode.CANCELLED.name)
            raise
        except BaseException:
            ended(_set_in(context) or grpc.StatusCode.UNKNOWN.name)
            raise
        ended(_set_in(context) or grpc.StatusCode.OK.name)
        return answer

    return call


def _by_path(methods: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The methods of services, "package.Service/Method" by the path of a call."""
    return {f"/{name}/{method}": f"{name}/{method}" for name, of in methods.items() for method in of}


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
