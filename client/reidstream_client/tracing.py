"""Traces of frames: what a session asks of a tracer, and OpenTelemetry as one.

Why a seam: an edge computer has no OpenTelemetry, and needs none. `OpenTelemetryTracing` imports its interface when it
is made. What becomes of the spans, and how many there are, is the business of the program's own SDK.

Trap: a frame's span begins in the caller's context, so that it lies below the caller's own span. An event loop in
another thread must be given that context, which `run_coroutine_threadsafe` does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from typing_extensions import override

from reidstream_proto.v1.contract import MAX_TRACESTATE_BYTES, TRACEPARENT_HEADER, TRACESTATE_HEADER

from .errors import MissingExtra, ReidError
from .types import FrameEmbeddings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, StatusCode, TracerProvider

ANSWERED = "answered"
UNANSWERED = "unanswered"
_MOST_INTEGER = 2**63 - 1  # of OpenTelemetry's protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """What is known of a frame when it is handed over. `method`: of gRPC, "package.Service/Method"."""

    method: str
    target: str
    camera_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHeaders:
    """The W3C headers of a frame's span; "" for none."""

    traceparent: str = ""
    tracestate: str = ""

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """As headers of a call of its own."""
        pairs = ((TRACEPARENT_HEADER, self.traceparent), (TRACESTATE_HEADER, self.tracestate))
        return tuple(pair for pair in pairs if pair[1])


NO_TRACE: Final = TraceHeaders()


class FrameSpan(Protocol):
    """A frame between `send` and its answer. One of the last two is called, once."""

    __slots__ = ()

    @property
    @abstractmethod
    def headers(self) -> TraceHeaders:
        """For the server."""
        ...

    @abstractmethod
    def answered(self, answer: FrameEmbeddings) -> None:
        """The answer is the caller's to take."""
        ...

    @abstractmethod
    def failed(self, frame_id: int | None, error: BaseException | None) -> None:
        """There is no answer: the frame was not taken, or its session ended."""
        ...


class FrameTracing(Protocol):
    """Begins the spans of frames. One for all sessions of a client."""

    __slots__ = ()

    @abstractmethod
    def begin(self, facts: FrameFacts) -> FrameSpan | None:
        """A frame is handed over. None: it has no trace, and the server decides by itself."""
        ...


class OpenTelemetryTracing(FrameTracing):
    """Spans by OpenTelemetry: `ReidClient(target, tracing=OpenTelemetryTracing())`.

    `provider`: whose tracer; the program's global one unless given. Raises MissingExtra without OpenTelemetry.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - see the module
        except ImportError:
            raise MissingExtra(
                "tracing needs OpenTelemetry, and there is none here: pip install 'reidstream-client[tracing]'"
            ) from None
        from . import __version__  # noqa: PLC0415 - the package is imported by now

        self._tracer = trace.get_tracer("reidstream-client", __version__, tracer_provider=provider)
        self._client, self._error = trace.SpanKind.CLIENT, trace.StatusCode.ERROR

    @override
    def begin(self, facts: FrameFacts) -> FrameSpan | None:
        address, _, port = facts.target.rpartition(":")
        where: dict[str, str | int] = {"server.address": facts.target}
        if port.isdecimal():
            where = {"server.address": address.strip("[]"), "server.port": int(port)}
        span = self._tracer.start_span(
            facts.method,
            kind=self._client,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": facts.method,
                "reidstream.camera_id": facts.camera_id,
                **where,
            },
        )
        return _Span(span, self._error) if span.get_span_context().is_valid else None


class _Span(FrameSpan):
    """`error`: OpenTelemetry's word for a span that failed."""

    __slots__ = ("_error", "_headers", "_span")

    def __init__(self, span: Span, error: StatusCode) -> None:
        self._span = span
        self._error = error
        context = span.get_span_context()
        state = context.trace_state.to_header()
        self._headers = TraceHeaders(
            traceparent=f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}",
            tracestate=state if len(state) <= MAX_TRACESTATE_BYTES else "",
        )

    @property
    @override
    def headers(self) -> TraceHeaders:
        return self._headers

    @override
    def answered(self, answer: FrameEmbeddings) -> None:
        failure = answer.error
        self._span.set_attribute("reidstream.boxes", len(answer.outcomes))
        self._span.set_attribute("reidstream.local", answer.local)
        if failure is None:
            self._end(answer.frame_id, ANSWERED, "OK")
        else:
            reason = failure.reason.name.lower()
            self._end(answer.frame_id, reason, failure.code.name, error=reason)

    @override
    def failed(self, frame_id: int | None, error: BaseException | None) -> None:
        status = error.status if isinstance(error, ReidError) else None
        self._end(frame_id, UNANSWERED, "CANCELLED" if status is None else status.name, error=type(error).__name__)

    def _end(self, frame_id: int | None, outcome: str, status: str, error: str | None = None) -> None:
        span = self._span
        if frame_id is not None:
            span.set_attribute("reidstream.frame_id", frame_id if frame_id <= _MOST_INTEGER else str(frame_id))
        span.set_attribute("reidstream.outcome", outcome)
        span.set_attribute("rpc.status_code", status)
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(self._error, error)
        span.end()
