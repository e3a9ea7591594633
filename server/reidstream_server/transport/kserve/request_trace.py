"""The span of a request: it begins when its message is read, and ends when its answer is written.

A request's place in a trace is in the headers of its call, which proxies and clients of the protocol know; all requests
of a stream have the same. Trap: most requests are not recorded, and without a tracer none is. So whoever handles a
request has None for its trace, and does nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import CallRefused
from reidstream_server.runtime.session import JobAnswer
from reidstream_server.runtime.trace import ANSWERED, UNANSWERED, FrameSpan, FrameTrace, FrameTracer
from reidstream_server.transport.status import CALLS, FRAMES, Status

_FRAME_ID = 0  # a call has one frame


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCall:
    """What a call says of its trace. `method`: as `FrameSpan` has it. `http`: whether it came over HTTP."""

    method: str
    traceparent: str
    tracestate: str
    http: bool = False


class RequestTrace:
    """Of a recorded request. `boxes`: how many crops it asks for, when that is known. Its first end counts. Event loop
    only.
    """

    def __init__(
        self, tracer: FrameTracer, trace: FrameTrace, call: TracedCall, *, client: str, camera_id: str
    ) -> None:
        self.trace = trace
        self.boxes = 0
        self._tracer = tracer
        self._call = call
        self._client = client
        self._camera_id = camera_id
        self._over = False

    def answered(self, answer: JobAnswer) -> None:
        """The answer was written."""
        if answer.fault is None:
            self._end(ANSWERED, "OK", 200, answer.times)
        else:
            self.refused(answer.fault, answer.times)

    def refused(self, fault: FrameFault, times: FrameTimes | None = None) -> None:
        """There are no rows."""
        self._fail(fault.reason.value, FRAMES[fault.reason], times)

    def call_refused(self, error: CallRefused) -> None:
        """The request is wrong."""
        self._fail(error.refusal.value, CALLS[error.refusal], None)

    def lost(self) -> None:
        """Nobody will have the answer."""
        self._end(UNANSWERED, "CANCELLED", 499, None)

    def _fail(self, outcome: str, status: Status, times: FrameTimes | None) -> None:
        self._end(outcome, status.grpc.name, int(status.http), times)

    def _end(self, outcome: str, status: str, http_status: int, times: FrameTimes | None) -> None:
        if self._over:
            return
        self._over = True
        self._tracer.end(
            FrameSpan(
                trace=self.trace,
                method=self._call.method,
                client=self._client,
                camera_id=self._camera_id,
                frame_id=_FRAME_ID,
                boxes=self.boxes,
                outcome=outcome,
                status=status,
                times=times,
                ended_ns=time.monotonic_ns(),
                http_status=http_status if self._call.http else None,
            )
        )


def begun(
    tracer: FrameTracer | None, call: TracedCall | None, received_ns: int, *, client: str, camera_id: str
) -> RequestTrace | None:
    """The trace of a request whose message was taken; None if it is not recorded."""
    if tracer is None or call is None:
        return None
    trace = tracer.begin(call.traceparent, call.tracestate, received_ns)
    return None if trace is None else RequestTrace(tracer, trace, call, client=client, camera_id=camera_id)
