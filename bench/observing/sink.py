"""A collector that throws spans away: it takes OTLP over gRPC, answers that all is well, and reads nothing.

Why: a tracer without a collector tries again and again, and drops. Trap: it runs in the process that measures, on the
cores of the load, so that what it does is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@contextmanager
def sink() -> Iterator[str]:
    """Its endpoint, while it listens."""
    server = grpc.server(ThreadPoolExecutor(1))
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_take)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def _take(request: bytes, context: grpc.ServicerContext) -> bytes:
    del request, context
    return b""
