"""What models did, under the names that Triton's metrics have: as a scraper reads them, and as Prometheus does."""

from __future__ import annotations

import asyncio
import http.client
from contextlib import closing

import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.app import RunningServer
from reidstream_server.transport.kserve.counts import InferenceCounts
from tests.support.gate import Gate
from tests.support.harness import frame, serving, stream_to, until
from tests.support.kserve import Tensor, kserve_stub, request
from tests.support.patience import HANG_S

NAMES = {
    f"nv_inference_{name}"
    for name in (
        *("request_success", "request_failure", "count", "exec_count", "request_duration_us", "queue_duration_us"),
        *("compute_input_duration_us", "compute_infer_duration_us", "compute_output_duration_us"),
    )
}
CROPS = Tensor.of("input", np.zeros((3, 3, 256, 128), np.float32))


async def scraped(server: RunningServer, accept: str = "") -> dict[str, float]:
    """The samples of these names, by name and labels."""

    def ask() -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=HANG_S)) as connection:
            connection.request("GET", "/metrics", headers={"Accept": accept})
            return connection.getresponse().read().decode()

    lines = (await asyncio.to_thread(ask)).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("nv_")}


def of(name: str, model: str = "fake") -> str:
    return f'nv_inference_{name}{{model="{model}",version="1"}}'


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_they_say_what_the_statistics_say(accept: str) -> None:
    """Of all doors, a series for each model and none for anybody else; in both forms of the page."""
    engines = FakeEngine(fake_spec("fake")), FakeEngine(fake_spec("other"))
    async with serving(*engines, kserve=True, triton_metrics=True, metrics_enabled=True) as server:
        first = await scraped(server, accept)
        async with kserve_stub(server) as stub, stream_to(server) as stream:
            await stub.ModelInfer(request(CROPS, model="fake"))
            await stream.open(camera_id="gate")
            await stream.call.write(frame(1))
            await stream.result()
            (found, _) = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats
        later = await scraped(server, accept)
    names = {name.removeprefix("nv_inference_") for name in NAMES}
    assert set(first) == set(later) == {of(name, model) for name in names for model in ("fake", "other")}
    assert set(first.values()) == {0}
    stats = found.inference_stats
    assert later[of("request_success")] == stats.success.count == 2
    assert later[of("count")] == found.inference_count == 5
    assert later[of("exec_count")] == found.execution_count
    for name, duration in (
        ("request", stats.success),
        ("queue", stats.queue),
        ("compute_input", stats.compute_input),
        ("compute_infer", stats.compute_infer),
        ("compute_output", stats.compute_output),
    ):
        assert later[of(f"{name}_duration_us")] == duration.ns // 1000
    assert {value for name, value in later.items() if "other" in name} == {0}


async def test_they_need_no_protocol_and_count_failures() -> None:
    """A server without KServe has them, too. A frame that is too old for its budget is a failure."""
    gate = Gate()
    engine = FakeEngine(max_batch=2, slots=1, script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    async with (
        serving(engine, triton_metrics=True, metrics_enabled=True) as server,
        stream_to(server) as first,
        stream_to(server) as stream,
    ):
        assert server.requests is None
        await first.open()
        await first.call.write(frame(1))
        await until(lambda: gate.entered)
        await stream.open(latency_budget_ms=1)
        await stream.call.write(frame(1))
        assert (await stream.result()).HasField("error")
        found = await scraped(server)
        gate.opened.set()
    assert (found[of("request_success")], found[of("request_failure")]) == (0, 1)


async def test_they_are_not_there_unless_they_are_asked_for() -> None:
    """Also where the protocol is served."""
    async with serving(kserve=True, metrics_enabled=True) as server:
        assert await scraped(server) == {}


async def test_a_model_that_takes_anothers_name_goes_on_with_its_counts() -> None:
    """A counter that falls would count again what was counted. A name that nobody has is gone."""
    async with serving(triton_metrics=True, metrics_enabled=True) as server:
        counts, runtime = server.parts.counts, server.runtime
        assert isinstance(counts, InferenceCounts)
        first = runtime.models.default
        counts.of(first.index).executions += 5
        second = runtime.add_model(FakeEngine())
        counts.of(second.index).executions += 2
        assert counts.by_name()["fake"].executions == 7
        counts.model_retired(first)
        assert counts.by_name()["fake"].executions == 7
        counts.model_retired(second)
        assert counts.by_name() == {}
        for model in (first, second):
            counts.model_added(model)
        assert counts.by_name()["fake"].executions == 0
