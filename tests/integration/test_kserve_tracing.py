"""Traces of requests of the open inference protocol: one span for each, below the span of its call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_server.tracing import export
from tests.support.collector import Collector, collecting, lasts
from tests.support.harness import serving, until
from tests.support.http import http_serving, http_to
from tests.support.kserve import Tensor, infer_over_http, kserve_stub, request, rows

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
HEADERS = (("traceparent", SAMPLED), ("tracestate", "vendor=1"))
SERVICE = "inference.GRPCInferenceService"
STAGES = ["received", "queue", "decode", "batch_wait", "inference", "answer"]
CROPS = Tensor.of("input", np.zeros((3, 3, 256, 128), np.float32))


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests; and nobody waits five seconds for a batch to fill."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    defaults = {**(export.ExportQueue.__init__.__kwdefaults__ or {}), "delay_s": 0.0}
    monkeypatch.setattr(export.ExportQueue.__init__, "__kwdefaults__", defaults)


async def test_a_request_is_one_span_below_that_of_its_call(collector: Collector) -> None:
    """By the headers of the call, as those of a camera's single frame."""
    async with (
        serving(kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server,
        kserve_stub(server) as stub,
    ):
        await stub.ModelInfer(request(CROPS), metadata=HEADERS)
        await stub.ModelInfer(request(CROPS))
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert (one.span.trace_id.hex(), one.span.parent_span_id.hex(), one.span.trace_state) == (TRACE, PARENT, "vendor=1")
    assert one.span.name == f"{SERVICE}/ModelInfer"
    assert one.span.kind == one.span.SPAN_KIND_SERVER
    assert one.events == STAGES
    assert lasts(one.span)
    batches = one.attributes["reidstream.batch_sizes"]
    assert one.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/ModelInfer",
        "rpc.status_code": "OK",
        "reidstream.client": "",
        "reidstream.camera_id": "kserve",
        "reidstream.frame_id": 0,
        "reidstream.boxes": 3,
        "reidstream.outcome": "answered",
        "reidstream.batch_sizes": batches,
    }


async def test_each_request_of_a_stream_is_a_span_of_its_own(collector: Collector) -> None:
    """They have the stream's headers, and so one trace. What is wrong with one is told in its span."""
    wrong = request(Tensor("input", "FP64", [1], bytes(8)), id="2")
    async with (
        serving(kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server,
        kserve_stub(server) as stub,
    ):
        call = stub.ModelStreamInfer(metadata=HEADERS)
        for one in (request(CROPS, id="1"), wrong, request(CROPS, model="nobody", id="3")):
            await call.write(one)
        await call.done_writing()
        assert len([answer async for answer in call]) == 3
        received = await asyncio.to_thread(collector.wait, 2)
    assert {one.span.trace_id.hex() for one in received} == {TRACE}
    assert {one.span.parent_span_id.hex() for one in received} == {PARENT}
    assert {one.span.name for one in received} == {f"{SERVICE}/ModelStreamInfer"}
    told = {one.attributes["reidstream.outcome"]: one for one in received}
    assert set(told) == {"answered", "invalid_call"}  # of the third nobody knows the model
    assert told["invalid_call"].attributes["rpc.status_code"] == "INVALID_ARGUMENT"
    assert told["invalid_call"].attributes["error.type"] == "invalid_call"
    assert told["answered"].attributes["reidstream.boxes"] == 3


async def test_over_http_the_words_are_those_of_http(collector: Collector) -> None:
    """The route is a pattern: whoever calls chooses the path."""
    async with http_serving(kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server:
        async with http_to(server) as http:
            body = b'{"inputs": []}'
            answer = await http.ask("POST", "/v2/models/fake/infer", body, {"traceparent": SAMPLED})
            assert answer.status == 400
            assert (await http.ask("POST", "/v2/models/fake/infer", body, {"traceparent": NOT_SAMPLED})).status == 400
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert (one.span.trace_id.hex(), one.span.parent_span_id.hex()) == (TRACE, PARENT)
    assert one.span.name == "POST /v2/models/{model}/infer"
    facts = one.attributes
    assert (facts["http.request.method"], facts["http.route"]) == ("POST", "/v2/models/{model}/infer")
    assert (facts["http.response.status_code"], facts["reidstream.outcome"]) == (400, "invalid_call")
    assert "rpc.method" not in facts


async def test_the_share_counts_where_the_client_does_not_decide(collector: Collector) -> None:
    """And its trace begins here."""
    async with (
        http_serving(kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server,
        kserve_stub(server) as stub,
        http_to(server) as http,
    ):
        await stub.ModelInfer(request(CROPS), metadata=(("traceparent", NOT_SAMPLED),))
        await stub.ModelInfer(request(CROPS))
        await infer_over_http(http, "fake", CROPS)
        received = await asyncio.to_thread(collector.wait, 2)
    assert {one.span.parent_span_id for one in received} == {b""}
    assert {one.attributes["reidstream.outcome"] for one in received} == {"answered"}


async def test_a_request_whose_client_leaves_ends_without_an_answer(collector: Collector) -> None:
    """Its span says so; also of an answer in a stream that is never taken."""
    engine = FakeEngine(fake_spec("fake", dim=50_000), script=FakeScript(seconds_per_batch=0.2))
    async with (
        serving(engine, kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server,
        kserve_stub(server, ("grpc.http2.bdp_probe", 0)) as stub,
    ):
        single = stub.ModelInfer(request(CROPS))
        await until(lambda: server.runtime.statistics().frames)
        single.cancel()
        call = stub.ModelStreamInfer()
        await call.write(request(CROPS))
        counts = server.parts.counts
        assert counts is not None
        await until(lambda: counts.of(server.runtime.models.default.index).success.count == 1)
        call.cancel()
        received = await asyncio.to_thread(collector.wait, 2)
    assert [one.attributes["reidstream.outcome"] for one in received] == ["unanswered"] * 2


async def test_an_exemplar_names_the_trace_of_a_request(collector: Collector) -> None:
    """As that of a frame."""
    async with (
        serving(kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=0.0) as server,
        kserve_stub(server) as stub,
    ):
        answer = await stub.ModelInfer(request(CROPS), metadata=HEADERS)
        assert len(rows(answer)) == 3
        exemplars = {
            sample.exemplar.labels["trace_id"]
            for family in server.parts.registry.collect()
            for sample in family.samples
            if sample.exemplar is not None
        }
    assert exemplars == {TRACE}


async def test_a_poisoned_crop_is_told_in_the_span(collector: Collector) -> None:
    """The server is to blame for it."""
    engine = FakeEngine(script=FakeScript(poison=lambda _: True))
    async with (
        serving(engine, kserve=True, tracing_endpoint=collector.endpoint, tracing_ratio=1.0) as server,
        kserve_stub(server) as stub,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(request(CROPS))
        (one,) = await asyncio.to_thread(collector.wait, 1)
    assert (one.attributes["reidstream.outcome"], one.attributes["rpc.status_code"]) == ("internal", "INTERNAL")
    assert one.span.status.code == one.span.status.STATUS_CODE_ERROR
