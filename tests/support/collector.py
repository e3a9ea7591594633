"""A collector of traces on a real socket: OTLP over gRPC, as OpenTelemetry's own collector takes it.

Why not a fake exporter: what reaches a collector has passed the library's encoder, which refuses some values, and a
channel that may be cut.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.support.patience import HANG_S, wait_until


@dataclass(frozen=True, slots=True)
class Received:
    """A span, with the attributes of who sent it."""

    span: trace_pb2.Span
    resource: dict[str, object]

    @property
    def attributes(self) -> dict[str, object]:
        """By name."""
        return values(self.span.attributes)

    @property
    def events(self) -> list[str]:
        """Their names, in order."""
        return [event.name for event in self.span.events]


def values(pairs: Iterable[common_pb2.KeyValue]) -> dict[str, object]:
    """Attributes by name, as Python has them."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: common_pb2.AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None


@dataclass(slots=True)
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what comes. `silent`: it takes calls and answers none of them."""

    silent: bool = False
    port: int = 0
    calls: int = 0
    headers: dict[str, str | bytes] = field(default_factory=dict)
    _spans: list[Received] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """As a setting or a variable has it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Received]:
        """What has come, in the order in which it came."""
        return list(self._spans)

    def wait(self, spans: int) -> list[Received]:
        """The spans, once there are so many."""
        wait_until(lambda: len(self._spans) >= spans)
        return self.spans

    def Export(  # noqa: N802 - the contract's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """One batch."""
        self.calls += 1
        self.headers = dict(context.invocation_metadata())
        if self.silent:
            self._over.wait(HANG_S)
        for group in request.resource_spans:
            resource = values(group.resource.attributes)
            self._spans += [Received(span, resource) for scope in group.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def collecting(*, silent: bool = False) -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector(silent=silent)
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        collector._over.set()
        server.stop(0).wait()


def lasts(span: trace_pb2.Span) -> bool:
    """Whether its times are in order, and are of this hour."""
    times = [span.start_time_unix_nano, *(event.time_unix_nano for event in span.events), span.end_time_unix_nano]
    return times == sorted(times) and abs(time.time_ns() - times[0]) < 3600 * 10**9
