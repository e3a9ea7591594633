"""The seam of traces: what a session asks of a tracer that is not OpenTelemetry, with a fake server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typing_extensions import override

from reidstream_client import (
    ErrorReason,
    FrameEmbeddings,
    FrameFacts,
    FrameSpan,
    FrameTracing,
    InvalidRequest,
    MissingExtra,
    OpenTelemetryTracing,
    OverloadPolicy,
    ReidError,
    TraceHeaders,
    testing,
)
from tests.support.patience import HANG_S
from tests.unit.client.samples import BOXES, IMAGE

HEADERS = TraceHeaders(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01", tracestate="vendor=1")


class Span(FrameSpan):
    def __init__(self, ends: list[tuple[int | None, str]]) -> None:
        self._ends = ends

    @property
    @override
    def headers(self) -> TraceHeaders:
        return HEADERS

    @override
    def answered(self, answer: FrameEmbeddings) -> None:
        self._ends.append((answer.frame_id, "answered" if answer.error is None else answer.error.reason.name))

    @override
    def failed(self, frame_id: int | None, error: BaseException | None) -> None:
        self._ends.append((frame_id, type(error).__name__))


class Tracing(FrameTracing):
    def __init__(self) -> None:
        self.begun: list[FrameFacts] = []
        self.ends: list[tuple[int | None, str]] = []

    @override
    def begin(self, facts: FrameFacts) -> FrameSpan | None:
        self.begun.append(facts)
        return Span(self.ends)


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
def test_every_frame_that_begins_a_span_ends_it_once(kind: str) -> None:
    """Answered by the server or by the client, refused here, or left without an answer."""
    tracing = Tracing()
    with testing.FakeServer() as server, server.client(tracing=tracing, camera_id="gate") as client:
        server.fail_frames(ErrorReason.INVALID_IMAGE, frame_ids=[1])
        open_stream = client.stream if kind == "stream" else client.resuming_stream
        with open_stream() as session:
            for _ in range(2):
                session.send(IMAGE, BOXES)
            assert [answer.frame_id for answer in (next(session), next(session))] == [0, 1]
            server.hold()
            session.send(IMAGE, BOXES)
            with pytest.raises(InvalidRequest, match="increase"):
                session.send(IMAGE, BOXES, frame_id=2)
            with pytest.raises(InvalidRequest):
                session.send(IMAGE, [[1, 2]])
    assert tracing.ends == [
        (0, "answered"),
        (1, "INVALID_IMAGE"),
        (2, "InvalidRequest"),
        (None, "InvalidRequest"),
        (2, "SessionEnded"),
    ]
    assert len(tracing.begun) == 5
    assert {facts.camera_id for facts in tracing.begun} == {"gate"}


def test_a_frame_that_the_policy_gives_up_at_once_ends_its_span() -> None:
    """Its answer comes before `send` returns."""
    tracing = Tracing()
    with testing.FakeServer() as server, server.client(tracing=tracing) as client:
        server.hold()
        with client.stream(overload_policy=OverloadPolicy.REJECT, window_frames=1) as session:
            session.send(IMAGE, BOXES)
            session.send(IMAGE, BOXES)
            server.release()
            session.finish()
            assert [answer.local for answer in session] == [False, True]
    assert sorted(tracing.ends, key=str) == [(0, "answered"), (1, "WINDOW_FULL")]


def test_a_session_that_resumes_sends_a_frame_again_with_the_same_context() -> None:
    """Both servers' spans lie below the one of the client, which ends once."""
    tracing = Tracing()
    with (
        testing.FakeServer() as server,
        server.client(tracing=tracing) as client,
        client.resuming_stream() as session,
    ):
        server.hold()
        session.send(IMAGE, BOXES)
        server.wait_for_frames(1)
        server.cut()
        server.release()
        assert next(session).valid.all()
    assert len(tracing.begun) == 1
    assert tracing.ends == [(0, "answered")]


def test_a_single_call_has_a_span_whatever_comes_of_it() -> None:
    """Of a frame without boxes nothing is sent, and there is none."""
    tracing = Tracing()
    with testing.FakeServer() as server, server.client(tracing=tracing) as client:
        client.embed(IMAGE, BOXES, frame_id=3)
        server.fail_frames(ErrorReason.INVALID_IMAGE, frame_ids=[4])
        with pytest.raises(ReidError):
            client.embed(IMAGE, BOXES, frame_id=4)
        client.embed(IMAGE, BOXES[:0])
    assert tracing.ends == [(3, "answered"), (None, "CallRejected")]


def test_headers_are_metadata_of_those_that_are_there() -> None:
    """An empty one is none."""
    assert HEADERS.metadata == (("traceparent", HEADERS.traceparent), ("tracestate", "vendor=1"))
    assert TraceHeaders().metadata == ()


def test_without_opentelemetry_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is asked for, and nowhere else."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtra, match=r"pip install 'reidstream-client\[tracing\]'"):
        OpenTelemetryTracing()


def test_a_program_without_an_sdk_has_no_spans() -> None:
    """OpenTelemetry's interface alone gives contexts that are none, and the server decides by itself."""
    script = """
from reidstream_client import OpenTelemetryTracing, FrameFacts
facts = FrameFacts(method="m", target="localhost:1", camera_id="gate")
print(OpenTelemetryTracing().begin(facts))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert done.stdout == "None\n"
