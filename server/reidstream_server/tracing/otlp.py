"""Spans as OpenTelemetry has them, sent to a collector by OTLP over gRPC. The only module that imports OpenTelemetry.

One span for a frame, with an event where each stage begins, in the words of the metrics: received, queue, decode,
batch_wait, inference, answer. A stage lasts until the next event, the last one until the span ends. Why events and no
child spans: the stages follow each other without a gap, so times tell all, and a frame costs one span instead of six.

Where the standard has a word it is used (semantic conventions of RPC, version 1.45.0). Trap: OTLP has no integer above
2**63 - 1, and a span that cannot be encoded would take its whole batch with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from typing_extensions import override

from reidstream_server import __version__
from reidstream_server.core.effects import FrameTimes
from reidstream_server.errors import SERVER_FAULTS
from reidstream_server.runtime.trace import FrameSpan, FrameTrace

from .export import SpanExporter

NAME: Final = "reidstream-server"
_LIBRARY: Final = "opentelemetry.exporter.otlp.proto.grpc"
_STOPPING: Final = "Shutdown in progress"  # what the library says last, in place of why it tried again
_MOST_INTEGER: Final = 2**63 - 1


class _Ids(IdGenerator):
    """Gives a span the ids that its frame has already: the log and the metrics have named them."""

    def __init__(self) -> None:
        self.trace = FrameTrace(trace_id=1, span_id=1, parent_id=0, tracestate="", received_ns=0)

    @override
    def generate_trace_id(self) -> int:
        return self.trace.trace_id

    @override
    def generate_span_id(self) -> int:
        return self.trace.span_id


class _Ended(SpanProcessor):
    """Keeps the spans that have ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    @override
    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _LastWords(logging.Handler):
    """What the library logs of a failure, which its result does not tell. Nothing of it goes to our log by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not (self.text and text.startswith(_STOPPING)):
            self.text = text


class SpanBuilder:
    """Makes OpenTelemetry's spans of ours. One thread."""

    def __init__(self) -> None:
        self._ids, self._ended = _Ids(), _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False, id_generator=self._ids
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(NAME, __version__)

    def build(self, spans: Sequence[FrameSpan]) -> Sequence[ReadableSpan]:
        """As they will be sent."""
        to_epoch_ns = time.time_ns() - time.monotonic_ns()
        for one in spans:
            self._add(one, to_epoch_ns)
        built, self._ended.spans = self._ended.spans, []
        return built

    def _add(self, one: FrameSpan, to_epoch_ns: int) -> None:
        trace = self._ids.trace = one.trace
        span = self._tracer.start_span(
            one.method,
            context=_above(trace),
            kind=SpanKind.SERVER,
            attributes={
                **_call(one),
                "reidstream.client": one.client,
                "reidstream.camera_id": one.camera_id,
                "reidstream.frame_id": one.frame_id if one.frame_id <= _MOST_INTEGER else str(one.frame_id),
                "reidstream.boxes": one.boxes,
                "reidstream.outcome": one.outcome,
            },
            start_time=trace.received_ns + to_epoch_ns,
        )
        span.add_event("received", timestamp=trace.received_ns + to_epoch_ns)
        if one.times is not None:
            for stage, began_ns in _stages(one.times):
                span.add_event(stage, timestamp=began_ns + to_epoch_ns)
            span.set_attribute("reidstream.batch_sizes", one.times.batch_sizes)
        if one.status != "OK":
            span.set_attribute("error.type", one.outcome)
        if one.status in SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR, one.outcome))
        span.end(one.ended_ns + to_epoch_ns)


class OtlpExporter(SpanExporter):
    """`endpoint`: "http://host:4317", or https; None: what OpenTelemetry's variables say, which say all else too."""

    def __init__(self, endpoint: str | None) -> None:
        library = logging.getLogger(_LIBRARY)
        library.propagate = False
        library.handlers[:] = [_LastWords()]
        (self._said,) = (handler for handler in library.handlers if isinstance(handler, _LastWords))
        self._builder = SpanBuilder()
        self._exporter = OTLPSpanExporter(endpoint=endpoint)

    @override
    def export(self, spans: Sequence[FrameSpan]) -> str | None:
        self._said.text = ""
        if self._exporter.export(self._builder.build(spans)) is SpanExportResult.SUCCESS:
            return None
        return self._said.text or "the collector refused them"

    @override
    def close(self) -> None:
        self._exporter.shutdown()


def _call(one: FrameSpan) -> Mapping[str, str | int]:
    """What the conventions say of a call: those of HTTP, or those of RPC."""
    if one.http_status is None:
        return {"rpc.system.name": "grpc", "rpc.method": one.method, "rpc.status_code": one.status}
    verb, _, route = one.method.partition(" ")
    return {"http.request.method": verb, "http.route": route, "http.response.status_code": one.http_status}


def _resource() -> Resource:
    """Who sends: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, and our name where they give none."""
    found = Resource.create()
    name = found.attributes.get(SERVICE_NAME)
    ours = {SERVICE_VERSION: __version__}
    if not isinstance(name, str) or name.startswith("unknown_service"):
        return found.merge(Resource({**ours, SERVICE_NAME: NAME}))
    return Resource(ours).merge(found)


def _above(trace: FrameTrace) -> Context:
    """The client's span, or none. Its trace state is read by OpenTelemetry, which drops what is broken in it."""
    if not trace.parent_id:
        return Context()
    state = TraceState.from_header([trace.tracestate]) if trace.tracestate else None
    above = SpanContext(
        trace.trace_id, trace.parent_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=state
    )
    return set_span_in_context(NonRecordingSpan(above), Context())


def _stages(times: FrameTimes) -> Sequence[tuple[str, int]]:
    """When each stage that was reached began; a frame without crops goes from the queue to its answer."""
    began = (
        ("queue", times.arrived_ns),
        ("decode", times.staging_ns),
        ("batch_wait", times.decoded_ns),
        ("inference", times.first_batch_ns),
        ("answer", times.last_batch_ns),
    )
    return [(stage, at_ns) for stage, at_ns in began if at_ns]
