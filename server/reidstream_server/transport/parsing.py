"""Requests that are none: bytes from which no message can be made.

Why here: gRPC parses before a method is called, and what its parser raises ends the call with UNKNOWN, shows clients
the name of a Python class, and fills the log with tracebacks that a stranger ordered. Trap: only the methods of one
service are given None in place of a request; health and reflection would not know what to do with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

Q = TypeVar("Q")
A = TypeVar("A")


class Parsing(grpc.aio.ServerInterceptor):
    """Has the methods of `service` (its full name) called with None where a request cannot be parsed. Once per call; a
    stream's messages do not pass through here.
    """

    def __init__(self, service: str) -> None:
        self._prefix = f"/{service}/"

    async def intercept_service(  # type: ignore[override]  # its types do not know requests that may be None
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q | None, A] | grpc.RpcMethodHandler[Q, A] | None:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(self._prefix):
            return handler
        parse = _or_none(handler.request_deserializer)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(handler.unary_unary, parse, handler.response_serializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, parse, handler.response_serializer)
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
