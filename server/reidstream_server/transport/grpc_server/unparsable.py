"""Bytes that are no message: the call ends with INVALID_ARGUMENT and a sentence of ours.

Why: gRPC parses before a method is called. What its parser raises would end the call with UNKNOWN, show clients the
name of a Python class, and let strangers fill the log with tracebacks. Trap: only methods of hosted services get None
in place of a request; health and reflection would not know what to do with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
from typing_extensions import override

from reidstream_server.errors import InvalidCall

from .hosting import HostedService

M = TypeVar("M")
Q = TypeVar("Q")
A = TypeVar("A")


def understood(request: M | None) -> M:
    """The request. Raises InvalidCall for None, which stands for bytes that could not be parsed."""
    if request is None:
        raise InvalidCall("the message cannot be parsed: its bytes are not a request of this method")
    return request


class Unparsable(grpc.aio.ServerInterceptor):
    """Has the methods of hosted services called with None where a request cannot be parsed. Once per call; a stream's
    messages do not pass through here.
    """

    def __init__(self, services: Sequence[HostedService]) -> None:
        self._names = frozenset(service.name for service in services)

    @override
    async def intercept_service(  # type: ignore[override]  # its types do not know requests that may be None
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q | None, A] | grpc.RpcMethodHandler[Q, A] | None:
        handler = await continuation(handler_call_details)
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        if handler is None or service not in self._names:
            return handler
        parse, serialize = _or_none(handler.request_deserializer), handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(handler.unary_unary, parse, serialize)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(handler.unary_stream, parse, serialize)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(handler.stream_unary, parse, serialize)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, parse, serialize)
        return handler


def _or_none(parse: Callable[[bytes], Q] | None) -> Callable[[bytes], Q | None] | None:
    if parse is None:
        return None

    def parsed(data: bytes) -> Q | None:
        try:
            return parse(data)
        except Exception:  # noqa: BLE001 - the parser's own type of error depends on the protobuf that is installed
            return None

    return parsed
