"""Traces of frames, from the client over the wire to a real collector."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode

from reidstream_client import AsyncReidClient, OpenTelemetryTracing, ReidClient, RetryPolicy, Session
from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.v1 import service_pb2
from reidstream_server.app import RunningServer
from reidstream_server.errors import StartupError
from reidstream_server.tracing import export, setup
from reidstream_server.tracing.frames import SamplingTracer
from tests.support.collector import Collector, collecting, lasts
from tests.support.harness import JPEG, frame, opening, picture, send_all, serving, stream_to, stub_of, until
from tests.support.patience import HANG_S

ROOT = Path(__file__).parents[2]
BOXES = np.array([[10, 10, 60, 120], [100, 20, 160, 200]], np.float32)
SERVICE = "reidstream.v1.EmbeddingService"
STAGES = ["received", "queue", "decode", "batch_wait", "inference", "answer"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOO_LONG = ",".join(f"vendor{number}={'x' * 200}" for number in range(3))
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests; and nobody waits five seconds for a batch to fill."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(export.ExportQueue.__init__, "__kwdefaults__", _at_once())


def _at_once() -> dict[str, object]:
    return {**(export.ExportQueue.__init__.__kwdefaults__ or {}), "delay_s": 0.0}


def tracer_of(server: RunningServer) -> SamplingTracer:
    tracer = server.parts.tracer
    assert isinstance(tracer, SamplingTracer)
    return tracer


def program() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A program with OpenTelemetry of its own, which records everything."""
    memory, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return provider, memory


def span_id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def by_frame(spans: tuple[ReadableSpan, ...]) -> dict[object, ReadableSpan]:
    return {(span.attributes or {})["reidstream.frame_id"]: span for span in spans}


async def test_a_frame_is_one_trace_from_the_callers_span_to_the_servers(collector: Collector) -> None:
    """The client's span lies below the one in which its caller sends, and the server's below the client's."""
    provider, memory = program()
    tracing = OpenTelemetryTracing(provider)
    async with (
        serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}", camera_id="gate", tracing=tracing) as client,
        client.stream() as session,
    ):
        with provider.get_tracer("camera").start_as_current_span("grab") as grab:
            for _ in range(3):
                await session.send(JPEG, BOXES)
        await session.finish()
        assert [answer.frame_id async for answer in session] == [0, 1, 2]
        received = await asyncio.to_thread(collector.wait, 3)
    sent = by_frame(tuple(span for span in memory.get_finished_spans() if span.kind is SpanKind.CLIENT))
    assert set(sent) == {0, 1, 2}
    for one in received:
        facts = one.attributes
        client_span = sent[facts["reidstream.frame_id"]]
        assert client_span.parent is not None
        assert client_span.parent.span_id == grab.get_span_context().span_id
        assert one.span.trace_id.hex() == f"{grab.get_span_context().trace_id:032x}"
        assert one.span.parent_span_id.hex() == f"{span_id_of(client_span):016x}"
        assert one.span.name == client_span.name == f"{SERVICE}/EmbedStream"
        assert one.span.kind == one.span.SPAN_KIND_SERVER
        assert one.events == STAGES
        assert lasts(one.span)
        assert facts == {
            "rpc.system.name": "grpc",
            "rpc.method": f"{SERVICE}/EmbedStream",
            "rpc.status_code": "OK",
            "reidstream.client": "",
            "reidstream.camera_id": "gate",
            "reidstream.frame_id": facts["reidstream.frame_id"],
            "reidstream.boxes": 2,
            "reidstream.outcome": "answered",
            "reidstream.batch_sizes": facts["reidstream.batch_sizes"],
        }
        assert one.resource["service.name"] == "reidstream-server"
        assert dict(client_span.attributes or {}) == {
            "rpc.system.name": "grpc",
            "rpc.method": f"{SERVICE}/EmbedStream",
            "rpc.status_code": "OK",
            "server.address": "127.0.0.1",
            "server.port": server.port,
            "reidstream.camera_id": "gate",
            "reidstream.frame_id": facts["reidstream.frame_id"],
            "reidstream.boxes": 2,
            "reidstream.local": False,
            "reidstream.outcome": "answered",
        }


def test_clients_without_asyncio_take_the_callers_context_along(collector: Collector) -> None:
    """A client's own thread sends, and the span lies below the caller's all the same; also in a session that resumes,
    and for a single call, whose context is in the call's headers.
    """
    provider, memory = program()

    def run(port: int) -> None:
        with (
            ReidClient(f"127.0.0.1:{port}", tracing=OpenTelemetryTracing(provider)) as client,
            client.resuming_stream() as session,
            provider.get_tracer("camera").start_as_current_span("grab"),
        ):
            assert isinstance(session, Session)
            session.send(JPEG, BOXES)
            session.finish()
            assert all(answer.valid.all() for answer in session)
            client.embed(JPEG, BOXES, frame_id=7)

    async def main() -> None:
        async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server:
            await asyncio.to_thread(run, server.port)
            await asyncio.to_thread(collector.wait, 2)

    asyncio.run(main())
    (grab,) = (span for span in memory.get_finished_spans() if span.kind is SpanKind.INTERNAL)
    ours = [span for span in memory.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.parent and span.parent.span_id for span in ours] == [span_id_of(grab)] * 2
    above = {one.span.name: one.span.parent_span_id.hex() for one in collector.spans}
    assert above == {span.name: f"{span_id_of(span):016x}" for span in ours}
    assert set(above) == {f"{SERVICE}/EmbedStream", f"{SERVICE}/Embed"}


async def test_a_frame_whose_client_does_not_record_it_is_not_recorded(collector: Collector) -> None:
    """Parent-based: the server would record everything, and the client's decision counts."""
    tracing = OpenTelemetryTracing(TracerProvider(sampler=ALWAYS_OFF))
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        async with AsyncReidClient(f"127.0.0.1:{server.port}", camera_id="unseen", tracing=tracing) as client:
            await client.embed(JPEG, BOXES)
            async with client.stream() as session:
                await session.send(JPEG, BOXES)
                await session.finish()
                assert [answer.valid.all() async for answer in session] == [True]
        async with AsyncReidClient(f"127.0.0.1:{server.port}", camera_id="seen") as client:
            await client.embed(JPEG, BOXES)
        await asyncio.to_thread(collector.wait, 1)
    assert [one.attributes["reidstream.camera_id"] for one in collector.spans] == ["seen"]
    assert collector.spans[0].span.parent_span_id == b""


async def test_a_broken_context_is_ignored_and_counted_and_the_frame_answered(collector: Collector) -> None:
    """As W3C has it: the server begins a trace of its own, as if nothing had come."""
    broken = ["no", SAMPLED.upper(), f"00-{'0' * 32}-{PARENT}-01", f"{SAMPLED}-more", "ff" + SAMPLED[2:], "\u00e9" * 99]
    async with (
        serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0, metrics_enabled=True) as server,
        stream_to(server) as stream,
    ):
        await stream.open()
        for frame_id, traceparent in enumerate([*broken, SAMPLED]):
            message = frame(frame_id)
            message.frame.traceparent, message.frame.tracestate = traceparent, "=broken" if frame_id % 2 else TOO_LONG
            await stream.call.write(message)
            assert not (await stream.result()).HasField("error")
        received = await asyncio.to_thread(collector.wait, len(broken) + 1)
        assert tracer_of(server).broken == len(broken)
    assert [one.span.trace_id.hex() == TRACE for one in received] == [False] * len(broken) + [True]
    assert {one.span.trace_state for one in received} == {""}
    assert len({one.span.trace_id for one in received}) == len(broken) + 1


async def test_the_state_of_a_trace_goes_with_its_parent(collector: Collector) -> None:
    """And a unary call's headers come before its frame's fields."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server, stub_of(server.port) as stub:
        request = service_pb2.EmbedRequest(options=opening().session_open.options, frame=frame(2**64 - 1).frame)
        request.frame.traceparent = NOT_SAMPLED
        headers = (("traceparent", SAMPLED), ("tracestate", "vendor=1"))
        await stub.Embed(request, metadata=headers)
        request.frame.traceparent = SAMPLED
        await stub.Embed(request)
        first, second = await asyncio.to_thread(collector.wait, 2)
    assert (first.span.trace_state, second.span.trace_state) == ("vendor=1", "")
    assert first.span.trace_id.hex() == second.span.trace_id.hex() == TRACE
    assert first.attributes["reidstream.frame_id"] == str(2**64 - 1)


async def test_what_has_no_answer_is_told_with_its_reason(collector: Collector) -> None:
    """A frame that is refused once it is read, and one that the scheduler refuses."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        async with stream_to(server) as stream:
            await stream.open()
            await send_all(stream, [frame(1), frame(1), frame(2, image=b"no picture")])
            results = await stream.results()
        received = await asyncio.to_thread(collector.wait, 3)
    assert [result.error.code for result in results] == [0, 3, 3]
    told = {one.attributes["reidstream.outcome"]: one for one in received}
    assert set(told) == {"answered", "invalid_frame_id", "invalid_image"}
    refused = told["invalid_image"]
    assert refused.attributes["error.type"] == "invalid_image"
    assert refused.attributes["rpc.status_code"] == "INVALID_ARGUMENT"
    assert refused.attributes["reidstream.boxes"] == 2
    assert refused.span.status.code == refused.span.status.STATUS_CODE_UNSET  # the client is to blame
    assert lasts(refused.span)
    assert b"no picture" not in refused.span.SerializeToString()


async def test_a_frame_whose_client_vanishes_ends_without_an_answer(collector: Collector) -> None:
    """Its span says so, and is not lost."""
    engine = FakeEngine(script=FakeScript(seconds_per_batch=0.2))
    async with serving(engine, tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        async with stream_to(server) as stream:
            await stream.open()
            await stream.call.write(frame(1))
            await until(lambda: server.runtime.statistics().frames)
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert one.attributes["reidstream.outcome"] == "unanswered"
    assert one.attributes["rpc.status_code"] == "CANCELLED"


async def test_a_clients_span_of_a_frame_without_an_answer_says_why(collector: Collector) -> None:
    """Not taken, or not answered when the session ends; an open frame keeps its span when its id is sent again."""
    provider, memory = program()
    tracing = OpenTelemetryTracing(provider)
    async with (
        serving(FakeEngine(script=FakeScript(seconds_per_batch=0.2))) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}", tracing=tracing, retry=RetryPolicy(attempts=1)) as client,
    ):
        async with client.stream() as session:
            await session.send(JPEG, BOXES, frame_id=5)
            for frame_id in (5, "five"):
                with pytest.raises(Exception, match="frame"):
                    await session.send(JPEG, BOXES, frame_id=frame_id)  # type: ignore[arg-type]
        with pytest.raises(Exception, match="image"):
            await client.embed(b"no picture", BOXES)
    said = [
        (attributes.get("reidstream.frame_id"), attributes["error.type"], attributes["rpc.status_code"])
        for attributes in (span.attributes or {} for span in memory.get_finished_spans())
    ]
    assert said == [
        (5, "InvalidRequest", "CANCELLED"),
        (None, "InvalidRequest", "CANCELLED"),
        (5, "SessionEnded", "CANCELLED"),
        (None, "CallRejected", "INVALID_ARGUMENT"),
    ]
    assert {span.status.status_code for span in memory.get_finished_spans()} == {StatusCode.ERROR}
    assert collector.spans == []  # this server does not trace


async def test_a_silent_collector_costs_no_frame_and_no_shutdown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are answered, the queue stays within its bound, what is dropped is counted, and the log says it once."""
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(export.ExportQueue.__init__, "__kwdefaults__", {**_at_once(), "max_spans": 8, "batch_spans": 4})
    with collecting(silent=True) as collector:
        async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
            await forty_frames(server)
            await until(lambda: collector.calls)
            queue = tracer_of(server).queue
            assert queue.figures.queue_full >= 40 - 8 - 4
    all_forty_are_told(queue.figures, caplog)


async def test_a_collector_that_is_not_there_costs_no_frame_and_no_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens: the library tries again and again, until the server ends."""
    caplog.set_level(logging.WARNING)
    with collecting() as collector:
        pass
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        await forty_frames(server)
        queue = tracer_of(server).queue
    all_forty_are_told(queue.figures, caplog)


async def forty_frames(server: RunningServer) -> None:
    async with stream_to(server) as stream:
        await stream.open()
        for frame_id in range(40):
            await stream.call.write(frame(frame_id))
            assert not (await stream.result()).HasField("error")


def all_forty_are_told(figures: export.ExportFigures, caplog: pytest.LogCaptureFixture) -> None:
    assert (figures.exported, figures.queue_full + figures.export_failed) == (0, 40)
    told = [record for record in caplog.records if record.msg == "traces_dropped"]
    assert 1 <= len(told) <= 2
    assert sum(record.reidstream_fields["spans"] for record in told) == 40  # type: ignore[attr-defined]


async def test_the_metrics_count_spans_by_what_became_of_them(collector: Collector) -> None:
    """Those that a collector has, and those that nobody takes."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0, metrics_enabled=True) as server:
        async with stream_to(server) as stream:
            await stream.open()
            await stream.call.write(frame(1))
            await stream.result()
        await asyncio.to_thread(collector.wait, 1)
        await until(lambda: tracer_of(server).queue.figures.exported)
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in server.parts.registry.collect()
            for sample in family.samples
        }
    assert samples["reidstream_trace_spans_total", "exported"] == 1
    assert samples["reidstream_trace_spans_total", "queue_full"] == 0
    assert samples["reidstream_traceparents_ignored_total",] == 0


async def test_a_traced_frame_is_the_exemplar_of_what_the_metrics_observe(collector: Collector) -> None:
    """So a slow bucket leads to a trace that the collector has; a frame without a trace leaves none."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server, stream_to(server) as stream:
        await stream.open()
        for frame_id, traceparent in enumerate(("", SAMPLED, "")):
            message = frame(frame_id)
            message.frame.traceparent = traceparent
            await stream.call.write(message)
            await stream.result()
        (one,) = await asyncio.to_thread(collector.wait, 1)
        exemplars = {
            (sample.name, sample.labels.get("stage", "")): sample.exemplar.labels["trace_id"]
            for family in server.parts.registry.collect()
            for sample in family.samples
            if sample.exemplar is not None
        }
    assert set(exemplars.values()) == {one.span.trace_id.hex()} == {TRACE}
    stages = {stage for name, stage in exemplars if name == "reidstream_stage_seconds_bucket"}
    assert stages == {"queue", "decode", "batch_wait", "inference", "answer", "total"}
    assert ("reidstream_frame_age_seconds_bucket", "") in exemplars


async def test_opentelemetrys_variables_turn_it_on_and_say_where_and_how(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting of ours is needed: endpoint, headers, sampler and the service's name."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gate-reid")
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        message = frame(1)
        message.frame.traceparent = NOT_SAMPLED  # always_on heeds no client
        await stream.call.write(message)
        await stream.result()
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert collector.headers["api-key"] == "sesame"
    assert one.resource["service.name"] == "gate-reid"
    assert one.span.trace_id.hex() == TRACE


async def test_the_log_names_the_trace_of_a_session_and_of_a_frame(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever reads a line finds the trace: of a session by the headers of its call."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("reidstream_server.transport.embedding.frames.source_scale", _broken)
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server, stub_of(server.port) as stub:
        call = stub.EmbedStream(metadata=(("traceparent", SAMPLED),))
        await call.write(opening())
        await call.read()
        message = frame(1)
        message.frame.traceparent = f"00-{'ab' * 16}-{PARENT}-01"
        await call.write(message)
        await call.read()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        await asyncio.to_thread(collector.wait, 1)
    fields = {record.msg: record.reidstream_fields for record in caplog.records if hasattr(record, "reidstream_fields")}
    assert fields["session_opened"]["trace_id"] == fields["session_ended"]["trace_id"] == TRACE
    assert fields["frame_not_parsed"]["trace_id"] == "ab" * 16


def _broken(*_: object) -> None:
    raise RuntimeError("a fault of ours")


async def test_large_frames_and_ready_crops_have_spans_too(collector: Collector) -> None:
    """They are parsed and read in another thread."""
    async with serving(tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server:
        async with AsyncReidClient(f"127.0.0.1:{server.port}") as client, client.stream() as session:
            await session.send(picture(2400, 1300), BOXES)
            await session.finish()
            assert [answer.valid.all() async for answer in session] == [True]
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert one.events == STAGES
    assert lasts(one.span)
    assert len(one.span.SerializeToString()) < 2000


def test_nothing_of_opentelemetry_is_imported_while_tracing_is_off() -> None:
    """Neither by a server that serves nor by a client that calls it."""
    script = """
import asyncio, sys
import numpy as np
from reidstream_client import AsyncReidClient
from tests.support.harness import JPEG, serving
async def main():
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        assert (await client.embed(JPEG, np.array([[10, 10, 60, 120]], np.float32))).valid.all()
        assert server.parts.tracer is None
asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=True
    )
    assert done.stdout == "[]\n"


def test_a_server_without_the_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked by our own setting it does not start."""
    monkeypatch.setattr(setup, "_NEEDED", ("opentelemetry.nowhere.at_all",))
    with pytest.raises(StartupError, match=re.escape("pip install 'reidstream-server[tracing]'")):
        setup.check_tracing("http://localhost:4317")
