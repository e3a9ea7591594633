"""Who holds gRPC's memory: the calls of each connection, and how many bytes of messages were read from it.

Why: a call that is being read lets its client send a whole message, which gRPC keeps until its last byte has come. So a
hundred calls that each send all but one byte hold a hundred messages, and no bound of ours has seen one of them. What a
connection has received, less what was read from it, is what it holds (see `sockets`). A message costs one addition.

Trap: the kernel's figure has frames, headers and TLS in it, under 1 %. After a terabyte that would be 10 GB. So
whenever little is held by all together, the difference is taken as the new zero (`settle`); and 1 % is forgiven.

A call is ended with a status if the event loop gets to it, and its handler gives back what it has.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from typing_extensions import override

from reidstream_server.errors import ReceivingFull

from .calls import Abortable, CallObserver, refuse
from .handlers import method_of, rebuilt
from .sockets import connected_to, cut, received_bytes
from .unparsable import Unparsed

_OVERHEAD = 100  # one byte in so many is none of a message
Q = TypeVar("Q")
A = TypeVar("A")


class _Context(Abortable, Protocol):
    """What is needed of a gRPC context."""

    def peer(self) -> str:
        """Its connection's other end, as gRPC writes it."""
        ...


@dataclass(slots=True, eq=False)
class _Call:
    """An open call. `read_bytes`: of its messages so far. `waiting_bytes`: of those that nobody has parsed. `why`: set
    when it is to be ended.
    """

    read_bytes: int = 0
    waiting_bytes: int = 0
    task: asyncio.Task[Any] | None = None
    why: str = ""


@dataclass(slots=True, eq=False)
class _Connection:
    """`gone_bytes`: read by calls that are over. When little was held, `zero_read_bytes` had been read, and the kernel
    had counted `zero_bytes` beyond them.
    """

    calls: set[_Call] = field(default_factory=set)
    gone_bytes: int = 0
    zero_bytes: int = 0
    zero_read_bytes: int = 0

    @property
    def read_bytes(self) -> int:
        return self.gone_bytes + sum(call.read_bytes for call in tuple(self.calls))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A connection, and how many bytes of messages it has sent that nobody has read. `calls`: open ones."""

    peer: str
    bytes: int
    calls: int


class Receipts(grpc.aio.ServerInterceptor):
    """Knows every call. The interceptor runs on the event loop; the other methods may be called in any thread."""

    def __init__(self, observer: CallObserver) -> None:
        self._observer = observer
        self._connections: dict[str, _Connection] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0

    # What holds memory.

    @property
    def known(self) -> int:
        """Connections that are remembered."""
        return len(self._connections)

    def holders(self) -> list[Holder]:
        """Every connection, the one that holds most first. Without the kernel's figures: the one with most calls."""
        received, known = received_bytes(self.port), self._connections.copy()
        if not received:
            return sorted(
                (Holder(peer=peer, bytes=0, calls=len(of.calls)) for peer, of in known.items() if of.calls),
                key=lambda holder: -holder.calls,
            )
        found = []
        for peer, count in received.items():
            of = known.get(peer, _Connection())
            read = of.read_bytes
            overhead = of.zero_bytes + (read - of.zero_read_bytes) // _OVERHEAD
            held = max(0, count - read - overhead)
            found.append(Holder(peer=peer, bytes=held, calls=len(of.calls)))
        return sorted(found, key=lambda holder: -holder.bytes)

    async def connected(self) -> AbstractSet[str] | None:
        """The other ends of all connections; None where the kernel does not say. Event loop only."""
        return await asyncio.to_thread(connected_to, self.port)

    def settle(self, *, little: bool) -> None:
        """Forget connections that are closed. `little`: is held by all together, so what the kernel has counted beyond
        our messages is not held.
        """
        received = received_bytes(self.port)
        for peer, of in self._connections.copy().items():
            if peer not in received and not of.calls:
                self._connections.pop(peer, None)
            elif peer in received and little:
                of.zero_read_bytes = of.read_bytes
                of.zero_bytes = received[peer] - of.zero_read_bytes

    def end_calls(self, peer: str, why: str) -> None:
        """Have the calls of a connection end with a status, as soon as the event loop gets to it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_calls, peer, why)

    def ending(self, peer: str) -> bool:
        """Whether a call of the connection is open that is to end."""
        connection = self._connections.get(peer)
        return connection is not None and any(call.why for call in tuple(connection.calls))

    def cut(self, peer: str) -> bool:
        """End the connection. False if it is not there any more."""
        return cut(self.port, peer)

    def _end_calls(self, peer: str, why: str) -> None:
        connection = self._connections.get(peer)
        for call in () if connection is None else tuple(connection.calls):
            if not call.why and call.task is not None:
                call.why = why
                call.task.cancel()

    # Calls.

    @override
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        self._loop = asyncio.get_running_loop()
        call = _Call()
        known: grpc.RpcMethodHandler[Q, A] = rebuilt(
            handler, method=self._known(method_of(handler), call), parse=_counted(handler.request_deserializer, call)
        )
        return known

    def _known(self, behaviour: Callable[..., Any], call: _Call) -> Callable[..., Any]:
        """The same behaviour, of a call that can be found and ended while it runs."""
        if inspect.isasyncgenfunction(behaviour):

            async def answers(request: object, context: _Context) -> AsyncIterator[object]:
                peer = self._begun(call, context)
                try:
                    async for answer in behaviour(request, context):
                        yield answer
                except asyncio.CancelledError:
                    await self._ended(call, context)
                    raise
                finally:
                    self._over(call, peer)

            return answers

        async def answer(request: object, context: _Context) -> object:
            peer = self._begun(call, context)
            try:
                return await behaviour(request, context)
            except asyncio.CancelledError:
                await self._ended(call, context)
                raise
            finally:
                self._over(call, peer)

        return answer

    def _begun(self, call: _Call, context: _Context) -> str:
        peer: str = context.peer()
        call.task = asyncio.current_task()
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = _Connection()
        connection.calls.add(call)
        return peer

    async def _ended(self, call: _Call, context: _Context) -> None:
        """The handler was cancelled; if we did it, the client is told why. Raises then."""
        if call.why and call.task is not None:
            call.task.uncancel()
            await refuse(context, ReceivingFull(call.why), self._observer)

    def _over(self, call: _Call, peer: str) -> None:
        connection = self._connections[peer]
        connection.calls.discard(call)
        connection.gone_bytes += call.read_bytes + call.waiting_bytes


def _counted(parse: Callable[[bytes], Q] | None, call: _Call) -> Callable[[bytes], Q | bytes]:
    """Parses as before, and counts what is read. What waits to be parsed is not."""

    def read(size: int) -> None:
        call.waiting_bytes -= size
        call.read_bytes += size

    def counted(data: bytes) -> Q | bytes:
        parsed = data if parse is None else parse(data)
        call.waiting_bytes += len(data)
        if isinstance(parsed, Unparsed):
            parsed.told = partial(read, len(data))
        else:
            read(len(data))
        return parsed

    return counted
