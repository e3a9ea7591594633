"""A handler of gRPC with another method, or another parser, in the place of its own.

Why: gRPC keeps a handler's method under one of four names, by who streams, and each interceptor of the port would need
all four. Trap: nothing here is typed further than gRPC types it, because a parser may make something else of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

_MADE_BY: dict[str, Callable[..., Any]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}


def method_of(handler: grpc.RpcMethodHandler[Any, Any]) -> Callable[..., Any]:
    """What it does with a request and a context. Raises ValueError for a handler without a method."""
    return _kind_and_method(handler)[1]


def rebuilt(
    handler: grpc.RpcMethodHandler[Any, Any],
    *,
    method: Callable[..., Any] | None = None,
    parse: Callable[[bytes], Any] | None = None,
) -> Any:  # noqa: ANN401 - see the module
    """The same handler, but for what is given. Raises ValueError for a handler without a method."""
    kind, own = _kind_and_method(handler)
    return _MADE_BY[kind](method or own, parse or handler.request_deserializer, handler.response_serializer)


def _kind_and_method(handler: grpc.RpcMethodHandler[Any, Any]) -> tuple[str, Callable[..., Any]]:
    for kind in _MADE_BY:
        method = getattr(handler, kind)
        if method is not None:
            return kind, method
    raise ValueError("a handler has one method")
