"""What no method should see: bytes that are no message, and messages that would take long to parse.

Why: gRPC parses before a method is called, on the event loop. What its parser raises would end the call with UNKNOWN,
show clients the name of a Python class, and let strangers fill the log with tracebacks; what it does not raise may take
seconds (`structure`). Both end the call with INVALID_ARGUMENT and a sentence of ours. A large message is not parsed at
all here: whoever can wait for it has it parsed elsewhere. Trap: only methods of hosted services get an `Unreadable` or
a `Large` in place of a request; health and reflection would not know what to do with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from reidstream_server.errors import InvalidCall

from .hosting import HostedService
from .structure import Verdict, judge, shape_of

M = TypeVar("M")
Q = TypeVar("Q")
A = TypeVar("A")

LARGE_MESSAGE_BYTES = 8 * 2**20
"""A larger message is not parsed before its method asks for it. A raw frame of 1080p is smaller."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a request that was not parsed; `why` is for the client."""

    why: str


NO_MESSAGE = Unreadable("the message cannot be parsed: its bytes are not a request of this method")


@dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
class Large(Generic[M]):
    """Stands for a request that is large, until somebody has it parsed. Any thread, one at a time. Its `repr` has no
    bytes: writing those out would take a second.
    """

    _data: bytes
    _parser: Callable[[bytes], M | Unreadable]
    _parsed: M | Unreadable | None = None

    @property
    def waiting_bytes(self) -> int:
        """Of the message that was not parsed yet."""
        return len(self._data)

    def parse(self) -> M | Unreadable:
        """The request. It is parsed once, and its bytes are dropped then."""
        if self._parsed is None:
            self._parsed = self._parser(self._data)
            self._data = b""
        return self._parsed


def understood(request: M | Unreadable | Large[M]) -> M:
    """The request. A large one is parsed now. Raises InvalidCall for one that cannot be parsed."""
    if isinstance(request, Large):
        request = request.parse()
    if isinstance(request, Unreadable):
        raise InvalidCall(request.why)
    return request


class Unparsable(grpc.aio.ServerInterceptor):
    """Has the methods of hosted services called with an `Unreadable` where a request cannot be parsed, or has more than
    `max_structure_bytes` beside its pixels, and with a `Large` where it has more than LARGE_MESSAGE_BYTES. Once per
    call; a stream's messages do not pass through here.
    """

    def __init__(self, services: Sequence[HostedService], max_structure_bytes: int) -> None:
        self._names = frozenset(service.name for service in services)
        self._max_structure_bytes = max_structure_bytes

    @override
    async def intercept_service(  # type: ignore[override]  # its types do not know requests that may be something else
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q | Unreadable | Large[Q], A] | grpc.RpcMethodHandler[Q, A] | None:
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        if handler is None or service not in self._names:
            return handler
        parse, serialize = self._parser(handler.request_deserializer), handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(handler.unary_unary, parse, serialize)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(handler.unary_stream, parse, serialize)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(handler.stream_unary, parse, serialize)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, parse, serialize)
        return handler

    def _parser(self, parse: Callable[[bytes], Q] | None) -> Callable[[bytes], Q | Unreadable | Large[Q]] | None:
        return None if parse is None else _patient(_careful(parse, self._max_structure_bytes))


def _patient(parse: Callable[[bytes], Q | Unreadable]) -> Callable[[bytes], Q | Unreadable | Large[Q]]:
    def parsed(data: bytes) -> Q | Unreadable | Large[Q]:
        return Large(data, parse) if len(data) > LARGE_MESSAGE_BYTES else parse(data)

    return parsed


def _careful(parse: Callable[[bytes], Q], most: int) -> Callable[[bytes], Q | Unreadable]:
    empty = parse(b"")  # a message of any type may be empty, and tells its type
    shape = shape_of(empty.DESCRIPTOR) if isinstance(empty, Message) else None
    too_much = Unreadable(
        f"the message has more than {most} bytes beside its pixels, the most that this server reads; such a frame has "
        "more boxes than max_boxes_per_frame, or fields that the server does not know"
    )

    def parsed(data: bytes) -> Q | Unreadable:
        if len(data) > most and shape is not None:
            verdict = judge(data, shape, most)
            if verdict is not Verdict.FITS:
                return too_much if verdict is Verdict.TOO_MUCH else NO_MESSAGE
        try:
            return parse(data)
        except Exception:  # noqa: BLE001 - the parser's own type of error depends on the protobuf that is installed
            return NO_MESSAGE

    return parsed
