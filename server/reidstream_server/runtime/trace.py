"""A frame's place in a trace, and what a tracer asks of those that handle frames.

Why in the runtime: doors begin and end a trace, the log and the metrics name it, and none of them knows OpenTelemetry.
Trap: most frames have no trace, and without tracing none has. So it is None wherever a frame is handled, and whoever
holds a tracer that is None does nothing at all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reidstream_server.core.effects import FrameTimes

ANSWERED = "answered"
UNANSWERED = "unanswered"
"""Outcome of a frame whose session ended before its answer was written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTrace:
    """A frame that is recorded. `parent_id` 0: its trace begins here. `received_ns`: monotonic, when its message was
    taken. The ids are those that its span will have.
    """

    trace_id: int
    span_id: int
    parent_id: int
    tracestate: str
    received_ns: int

    @property
    def trace_hex(self) -> str:
        """The trace id as people and other programs write it."""
        return f"{self.trace_id:032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSpan:
    """All that is told of a recorded frame: names, numbers and times, never a picture or a vector.

    `method`: of gRPC, "package.Service/Method"; of HTTP, "POST /path/{name}". `outcome`: as the metrics have it.
    `status`: its gRPC code, at every door. `http_status`: None for a call of gRPC. `times`: None if the frame was
    refused, or its session ended. `ended_ns`: monotonic.
    """

    trace: FrameTrace
    method: str
    client: str
    camera_id: str
    frame_id: int
    boxes: int
    outcome: str
    status: str
    times: FrameTimes | None
    ended_ns: int
    http_status: int | None = None


class FrameTracer(Protocol):
    """Decides which frames are recorded, and takes their spans. Any thread; never waits, never raises."""

    __slots__ = ()

    @abstractmethod
    def begin(self, traceparent: str, tracestate: str, received_ns: int) -> FrameTrace | None:
        """The trace of a frame whose client sent these ("" for none); None if the frame is not recorded."""
        ...

    @abstractmethod
    def names(self, traceparent: str) -> str | None:
        """The trace id that a client named for a session; None if it named none that is recorded."""
        ...

    @abstractmethod
    def end(self, span: FrameSpan) -> None:
        """A recorded frame is done."""
        ...


def trace_field(trace: FrameTrace | None) -> Mapping[str, str]:
    """The field of a log event that is about this frame; none if the frame is not recorded."""
    return {} if trace is None else {"trace_id": trace.trace_hex}
