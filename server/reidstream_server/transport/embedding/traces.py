"""The recorded frames of one call: each begins when its message is read, and ends with its answer.

Why apart from the stream: a call that is not traced has none of this, and is None there. Trap: `begin` also runs in the
thread that reads large messages. It is the only one that does, for one message of a session at a time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from reidstream_proto.v1 import frame_pb2
from reidstream_proto.v1.contract import TRACEPARENT_HEADER, TRACESTATE_HEADER
from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import FrameFault
from reidstream_server.core.terms import Flow
from reidstream_server.runtime.session import JobAnswer
from reidstream_server.runtime.trace import ANSWERED, UNANSWERED, FrameSpan, FrameTrace, FrameTracer
from reidstream_server.transport.grpc_server.caller import Headers, header
from reidstream_server.transport.status import FRAMES


class FrameTraces:
    """`method`: of gRPC, "package.Service/Method"."""

    def __init__(self, tracer: FrameTracer, method: str, flow: Flow) -> None:
        self._tracer = tracer
        self._method = method
        self._flow = flow
        self._open: dict[FrameTrace, tuple[int, int]] = {}  # their frame ids, and how many boxes they have

    def begin(self, message: frame_pb2.Frame, received_ns: int, headers: Headers = None) -> FrameTrace | None:
        """The trace of a frame whose message was taken; None if it is not recorded. `headers`: of its own call."""
        traceparent, tracestate = message.traceparent, message.tracestate
        if headers is not None and (given := header(headers, TRACEPARENT_HEADER)):
            traceparent, tracestate = given, header(headers, TRACESTATE_HEADER)
        trace = self._tracer.begin(traceparent, tracestate, received_ns)
        if trace is not None:
            self._open[trace] = message.frame_id, len(message.boxes) or len(message.crops.crops)
        return trace

    def refused(self, trace: FrameTrace | None, fault: FrameFault) -> None:
        """The frame was read, and is answered with this. Its span does not wait for the answer's turn."""
        if trace is not None:
            self._end(trace, fault.reason.value, FRAMES[fault.reason].grpc.name, None)

    def answered(self, answer: JobAnswer) -> None:
        """The answer to a frame was written, or is about to be, in a call of one frame."""
        trace = None if answer.payload is None else answer.payload.trace
        if trace is None:
            return
        if answer.fault is None:
            self._end(trace, ANSWERED, "OK", answer.times)
        else:
            self._end(trace, answer.fault.reason.value, FRAMES[answer.fault.reason].grpc.name, answer.times)

    def close(self) -> None:
        """The call is over, and what is still open has no answer."""
        for trace in tuple(self._open):
            self._end(trace, UNANSWERED, "CANCELLED", None)

    def _end(self, trace: FrameTrace, outcome: str, status: str, times: FrameTimes | None) -> None:
        found = self._open.pop(trace, None)
        if found is None:
            return
        frame_id, boxes = found
        self._tracer.end(
            FrameSpan(
                trace=trace,
                method=self._method,
                client=self._flow.client,
                camera_id=self._flow.camera_id,
                frame_id=frame_id,
                boxes=boxes,
                outcome=outcome,
                status=status,
                times=times,
                ended_ns=time.monotonic_ns(),
            )
        )


def session_field(tracer: FrameTracer | None, headers: Headers) -> Mapping[str, str]:
    """The field of the log events of a session whose client named a trace for its call."""
    named = None if tracer is None else tracer.names(header(headers, TRACEPARENT_HEADER))
    return {} if named is None else {"trace_id": named}
