"""The tracer of a server: decides, counts what clients sent broken, and queues the spans.

Trap: `begin` runs for every frame, on the event loop or in the thread that reads large messages. A frame that is not
recorded must cost it next to nothing; only a header that is broken takes the lock.
"""

from __future__ import annotations

from threading import Lock

from typing_extensions import override

from reidstream_proto.v1.contract import MAX_TRACESTATE_BYTES
from reidstream_server.runtime.trace import FrameSpan, FrameTrace, FrameTracer

from .export import ExportQueue
from .sampling import Sampler, new_span_id
from .traceparent import parse_traceparent


class SamplingTracer(FrameTracer):
    """Any thread. `broken`: how many headers were ignored, so far."""

    def __init__(self, sampler: Sampler, queue: ExportQueue) -> None:
        self.queue = queue
        self._sampler = sampler
        self.broken = 0
        self._lock = Lock()

    @override
    def begin(self, traceparent: str, tracestate: str, received_ns: int) -> FrameTrace | None:
        parent = None
        if traceparent:
            parent = parse_traceparent(traceparent)
            if parent is None:
                with self._lock:
                    self.broken += 1
        trace_id = self._sampler.trace_id(parent)
        if trace_id is None:
            return None
        kept = parent is not None and len(tracestate.encode()) <= MAX_TRACESTATE_BYTES
        return FrameTrace(
            trace_id=trace_id,
            span_id=new_span_id(),
            parent_id=0 if parent is None else parent.span_id,
            tracestate=tracestate if kept else "",
            received_ns=received_ns,
        )

    @override
    def names(self, traceparent: str) -> str | None:
        parent = parse_traceparent(traceparent)
        return f"{parent.trace_id:032x}" if parent is not None and parent.sampled else None

    @override
    def end(self, span: FrameSpan) -> None:
        self.queue.put(span)
