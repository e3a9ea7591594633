"""Messages that nobody has parsed yet; and what no method should see: bytes that are no message, and messages that
would take long to parse.

Why: gRPC parses before a method is called, on the event loop, for whoever sends. So it is handed the bytes as they are,
and a method parses when it is its caller's turn, and knows what that took. What the parser raises would end the call
with UNKNOWN, show clients the name of a Python class, and let strangers fill the log with tracebacks; what it does not
raise may take seconds (`structure`). Both end the call with INVALID_ARGUMENT and a sentence of ours. Trap: only methods
of hosted services get an `Unparsed` in place of a request; health and reflection would not know what to do with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from reidstream_server.errors import InvalidCall

from .handlers import rebuilt
from .hosting import HostedService
from .structure import Verdict, judge, shape_of

M = TypeVar("M")
Q = TypeVar("Q")
A = TypeVar("A")

LARGE_MESSAGE_BYTES = 8 * 2**20
"""A larger message would hold the event loop for long. A raw frame of 1080p is smaller."""

NO_MESSAGE = "the message cannot be parsed: its bytes are not a request of this method"


class Unparsed(Generic[M]):
    """A request as it came. `told`: is called when it is parsed. `large`: reading it would hold the event loop for
    long. Any thread, one at a time.
    """

    __slots__ = ("_data", "_parse", "large", "told")

    def __init__(self, data: bytes, parse: Callable[[bytes], M]) -> None:
        self._data = data
        self._parse = parse
        self.large = len(data) > LARGE_MESSAGE_BYTES
        self.told: Callable[[], None] | None = None

    @property
    def waiting_bytes(self) -> int:
        """Of the message, until it is read."""
        return len(self._data)

    def read(self) -> M:
        """The request; once. Raises InvalidCall for bytes that are none, and for more than may be parsed."""
        data, self._data = self._data, b""
        if self.told is not None:
            self.told()
        return self._parse(data)


class Unparsable(grpc.aio.ServerInterceptor):
    """Has the methods of hosted services called with an `Unparsed` for each request, which refuses what has more than
    `max_structure_bytes` beside its pixels. Once per call; a stream's messages do not pass through here.
    """

    def __init__(self, services: Sequence[HostedService], max_structure_bytes: int) -> None:
        self._names = frozenset(service.name for service in services)
        self._max_structure_bytes = max_structure_bytes

    @override
    async def intercept_service(  # type: ignore[override]  # its types do not know requests that are something else
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Unparsed[Q], A] | grpc.RpcMethodHandler[Q, A] | None:
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        if handler is None or service not in self._names or handler.request_deserializer is None:
            return handler
        careful = _careful(handler.request_deserializer, self._max_structure_bytes)
        unparsed: grpc.RpcMethodHandler[Unparsed[Q], A] = rebuilt(handler, parse=lambda data: Unparsed(data, careful))
        return unparsed


def _careful(parse: Callable[[bytes], Q], most: int) -> Callable[[bytes], Q]:
    empty = parse(b"")  # a message of any type may be empty, and tells its type
    shape = shape_of(empty.DESCRIPTOR) if isinstance(empty, Message) else None
    too_much = (
        f"the message has more than {most} bytes beside its pixels, the most that this server reads; such a frame has "
        "more boxes than max_boxes_per_frame, or fields that the server does not know"
    )

    def parsed(data: bytes) -> Q:
        if len(data) > most and shape is not None:
            verdict = judge(data, shape, most)
            if verdict is not Verdict.FITS:
                raise InvalidCall(too_much if verdict is Verdict.TOO_MUCH else NO_MESSAGE)
        try:
            return parse(data)
        except Exception:  # noqa: BLE001 - the parser's own type of error depends on the protobuf that is installed
            raise InvalidCall(NO_MESSAGE) from None

    return parsed
