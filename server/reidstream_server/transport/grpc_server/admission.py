"""Which calls the port takes in, and how their messages are received: every call passes through here once.

A call waits for its turn first, whatever becomes of it: what it costs is its source's (see `turns`). A unary call of a
hosted service then takes one of `max_calls` places, then one of those in which a message is received (see `receiving`),
and only then is its message read. It has its place until its answer is sent. Streams of hosted services have bounds of
their own: a stream's first message and its session are the service's business. Health and reflection are for strangers
too. They have places of their own, so that no stranger takes one of a hosted service's; when all are taken, the oldest
call of whoever has most gives way. Calls of methods that nobody has are strangers' as well.

Trap: gRPC reads the message of a unary call before the method runs. So a unary method is given to gRPC as one that
reads a stream. On the wire that is the same.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias, cast

import grpc
from typing_extensions import override

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import CallRefused, InvalidCall, TooManyCalls, TooSlow, Unauthenticated
from reidstream_server.identity.access import Access, source_of
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.entrance.turns import CALL_NS, OPENING_NS, CallTurns, Connected, Payments

from .caller import presented_by
from .calls import CallObserver, abort, refuse, written
from .endings import Endings, this_task
from .handlers import method_of
from .hosting import HostedService
from .unparsable import NO_MESSAGE

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
Handler: TypeAlias = "grpc.RpcMethodHandler[object, object]"
Method: TypeAlias = Callable[[object, Context], Awaitable[object]]

OWN_CALLS = 256
"""Open calls of health and reflection, in all."""

OWN_RECEIVING_PLACES = 4
"""Messages of health and reflection that are received at a time."""

_OWN_PATIENCE_S = 0.25  # their messages are a few bytes
_GIVES_WAY_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBounds:
    """`max_waiting_calls`: of health, reflection and strangers, because their sources pay. `receive_timeout_s`: for a
    message of theirs to arrive. `stall_timeout_s`: for a client to take a message. `end_timeout_s`: for a client to
    take the end of its call, after all that.
    """

    max_waiting_calls: int
    receive_timeout_s: float
    stall_timeout_s: float
    end_timeout_s: float


class CallAdmission(grpc.aio.ServerInterceptor):
    """Once per call. Event loop only."""

    def __init__(
        self,
        services: Sequence[HostedService],
        access: Access,
        bounds: CallBounds,
        observer: CallObserver,
        *,
        entrance: Entrance,
        payments: Payments,
        connected: Connected,
    ) -> None:
        self._hosted = frozenset(service.name for service in services)
        self._access = access
        self._observer = observer
        self._stall_timeout_s = bounds.stall_timeout_s
        self.turns = entrance.turns
        self.own_turns = CallTurns(bounds.max_waiting_calls, payments, connected)
        self.endings = Endings(bounds.end_timeout_s)
        self.calls = entrance.places
        self.own_calls = OwnCalls(OWN_CALLS, self.endings)
        self.reception = entrance.reception
        self.own_reception = Reception(
            places=OWN_RECEIVING_PLACES, timeout_s=bounds.receive_timeout_s, patience_s=_OWN_PATIENCE_S
        )

    @property
    def waiting(self) -> int:
        """Calls that wait because their sources pay."""
        return self.turns.waiting + self.own_turns.waiting

    @override
    async def intercept_service(  # type: ignore[override]
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._watched(self._unknown))
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        admitted = self._admitted(handler) if service in self._hosted else self._admitted_own(handler)
        kind = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return cast(Handler, kind(admitted, handler.request_deserializer, handler.response_serializer))

    def _admitted(self, handler: Handler) -> Method:
        """A method of a hosted service, or a refusal in its place."""
        method, streams = self._method_of(handler), handler.request_streaming

        async def answer(requests: object, context: Context) -> object:
            try:
                source = await self._turn(context, OPENING_NS if streams else CALL_NS)
                message = requests if streams else await self._message(context, source)
            except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
                await refuse(context, error, self._observer)
            return await method(message, context)

        return self._watched(answer)

    async def _turn(self, context: Context, cost_ns: int) -> str:
        """Whose call it is, when it may go on. Raises TooManyCalls."""
        try:
            source = self._access.caller_of(presented_by(context)).source
        except Unauthenticated:  # the guard has refused it
            source = _connection_of(context)
            await self.own_turns.wait(source, context.peer(), CALL_NS)
        else:
            await self.turns.wait(source, context.peer(), cost_ns)
        return source

    async def _message(self, context: Context, source: str) -> object:
        """The message of a unary call, read when it has a place. Raises CallRefused."""
        self.calls.enter(source)
        message = await _only_message(self.reception, context, source)
        await self.turns.again(source, context.peer())
        return message

    def _admitted_own(self, handler: Handler) -> Method:
        """A method of health or reflection."""
        method = self._method_of(handler)

        async def answer(requests: object, context: Context) -> object:
            del requests
            source = _connection_of(context)
            try:
                await self.own_turns.wait(source, context.peer(), CALL_NS)
                with self.own_calls.entered(source):
                    if handler.request_streaming:
                        return await method(self._messages(context, source), context)
                    return await method(await _only_message(self.own_reception, context, source), context)
            except (TooManyCalls, TooSlow, InvalidCall) as error:
                await refuse(context, error, self._observer)

        return self._watched(answer)

    async def _messages(self, context: Context, source: str) -> AsyncIterator[object]:
        """A stream's messages, until its end or until none comes for too long. Each of them costs as a call does."""
        with suppress(TooSlow):
            while (message := await _next_message(self.own_reception, context, source)) is not grpc.aio.EOF:
                yield message
                await self.own_turns.wait(source, context.peer(), CALL_NS)

    async def _unknown(self, requests: object, context: Context) -> object:
        """In the place of a method that nobody has: gRPC itself would answer at once, as often as it is asked."""
        del requests
        try:
            await self.own_turns.wait(_connection_of(context), context.peer(), CALL_NS)
        except TooManyCalls as error:
            await refuse(context, error, self._observer)
        await abort(context, grpc.StatusCode.UNIMPLEMENTED, "this server has no such method", reason="unknown_method")

    def _method_of(self, handler: Handler) -> Method:
        """What a handler does, as one coroutine: what it yields is written."""
        method: Callable[[object, Context], AsyncIterator[object] | Awaitable[object]] = method_of(handler)

        async def answer(requests: object, context: Context) -> object:
            answers = method(requests, context)
            if not inspect.isasyncgen(answers):
                return await cast(Awaitable[object], answers)
            async for message in answers:
                await written(context, message, self._stall_timeout_s)
            return None

        return answer

    def _watched(self, method: Method) -> Method:
        async def answer(requests: object, context: Context) -> object:
            with self.endings.watched():
                return await method(requests, context)

        return answer


class OwnCalls:
    """The open calls of health and reflection. There is room for one more: somebody gives way. Event loop only."""

    def __init__(self, most: int, endings: Endings) -> None:
        self._pool: Pool[str] = Pool(most)
        self._endings = endings
        self._open: dict[asyncio.Task[object], str] = {}  # the oldest first

    @property
    def taken(self) -> int:
        """Open calls."""
        return self._pool.taken

    @contextmanager
    def entered(self, source: str) -> Iterator[None]:
        """Around this task's call. Raises TooManyCalls when it must give way."""
        task = this_task()
        if self._pool.taken >= self._pool.most:
            self._make_room()
        self._pool.take(source, 1)
        self._open[task] = source
        task.add_done_callback(lambda _: self._pool.give_back(source, 1))
        try:
            yield
        except asyncio.CancelledError:
            if task in self._open:  # its client has left
                raise
            task.uncancel()
            raise TooManyCalls(
                f"{self._pool.most} calls of health and reflection are open, which is the limit, and this is the "
                "oldest of those who have most; call again when it is needed"
            ) from None
        finally:
            self._open.pop(task, None)

    def _make_room(self) -> None:
        largest = self._pool.largest
        oldest = next((task for task, source in self._open.items() if self._pool.of(source) == largest), None)
        if oldest is not None:
            del self._open[oldest]
            oldest.cancel()
            self._endings.within(oldest, _GIVES_WAY_WITHIN_S)


async def _only_message(reception: Reception, context: Context, source: str) -> object:
    message = await _next_message(reception, context, source)
    if message is grpc.aio.EOF:
        raise InvalidCall("the call has no message: send one")
    return message


async def _next_message(reception: Reception, context: Context, source: str) -> object:
    """Also of health and reflection, whose messages gRPC parses. Raises CallRefused."""
    try:
        return await reception.receive(context, source)
    except (CallRefused, grpc.aio.BaseError):
        raise
    except Exception as error:  # the parser's own type of error depends on the protobuf that is installed
        raise InvalidCall(NO_MESSAGE) from error


def _connection_of(context: Context) -> str:
    """The source of whoever is not known."""
    return source_of(context.peer())
