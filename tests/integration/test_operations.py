"""What operators rely on: health, reflection, metrics from the first scrape, and a real Prometheus that reads them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_engines.fake import FakeStager
from reidstream_engines.protocol import DeviceUsage, PoolUsage
from reidstream_proto.v1 import contract, frame_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from tests.support.harness import frame, opening, serving, stream_to, until
from tests.support.patience import HANG_S, wait_until

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000


async def scrape(server: RunningServer) -> str:
    """The text of /metrics."""
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=HANG_S).read().decode())


def series_of(text: str) -> dict[str, float]:
    """Our samples by name and labels."""
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("reidstream_")
    }


async def test_every_series_is_there_from_the_first_scrape() -> None:
    """No sample appears later than the first scrape, whatever happens after it."""
    async with serving(metrics_enabled=True) as server:
        first = series_of(await scrape(server))
        async with stream_to(server) as stream:
            await stream.open()
            for message in (frame(1), frame(1), frame(2, image=b""), frame(3, boxes=[])):
                await stream.call.write(message)
                await stream.result()
        later = series_of(await scrape(server))
    assert set(later) == set(first)
    moved = {name for name in first if later[name] != first[name]}
    assert 'reidstream_frames_total{outcome="answered"}' in moved
    assert 'reidstream_frames_total{outcome="invalid_frame_id"}' in moved
    assert later['reidstream_boxes_total{outcome="embedded"}'] == 2
    assert later['reidstream_stage_seconds_count{stage="inference"}'] == 1


async def test_metrics_tell_what_the_largest_client_has() -> None:
    """Of streams, beside its limit; and how many calls are in progress."""
    async with (
        serving(metrics_enabled=True, max_sessions=100) as server,
        stream_to(server) as one,
        stream_to(server) as two,
    ):
        await one.open()
        await two.open()
        series = series_of(await scrape(server))
    assert series["reidstream_sessions_of_largest_client"] == 2
    assert series["reidstream_sessions_per_client_limit"] == 50
    assert (series["reidstream_calls"], series["reidstream_calls_limit"]) == (0, 512)


async def test_metrics_and_their_page_name_the_same_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/metrics.md lists exactly what the server has; those of a GPU are there where one serves."""
    async with serving(metrics_enabled=True) as server:
        assert "reidstream_device" not in await scrape(server)
        pool = PoolUsage(in_use=1, idle=2, bound=4)
        usage = DeviceUsage(device="cuda:0", memory=pool, pinned=pool, decoded=5, declined=6)
        monkeypatch.setattr(FakeStager, "devices", lambda _: (usage,))
        text = await scrape(server)
    series = series_of(text)
    assert series['reidstream_device_frame_bytes{device="cuda:0",memory="pinned",state="idle"}'] == 2
    assert series['reidstream_device_decodes_total{device="cuda:0",outcome="declined"}'] == 6
    live = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    documented = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for name in live if name.startswith("reidstream_")} == documented


@pytest.mark.parametrize("budget_ms", [None, HOUR_MS])
async def test_no_age_that_a_client_says_spoils_the_sum_of_the_ages(budget_ms: int | None) -> None:
    """The largest that the wire can say counts as an hour: the frame is answered, and is over every budget."""
    async with serving(metrics_enabled=True) as server, stream_to(server) as stream:
        await stream.open(**({} if budget_ms is None else {"latency_budget_ms": budget_ms}))
        message = frame(1)
        message.frame.age_ns = 2**64 - 1
        await stream.call.write(message)
        result = await stream.result()
        (session,) = server.runtime.sessions()
        await until(lambda: session.counters.newest.newest_ns is not None)
        found = server.runtime.session_figures(session).ages
        ages = series_of(await scrape(server))
    late = frame_pb2.ERROR_REASON_OVER_BUDGET
    assert result.error.reason == (frame_pb2.ERROR_REASON_UNSPECIFIED if budget_ms is None else late)
    hour_s = contract.MAX_FRAME_AGE_MS / 1000
    assert hour_s <= ages["reidstream_frame_age_seconds_sum"] < hour_s + HANG_S
    assert found is not None
    assert hour_s <= found.p50_ns / 1e9 < hour_s + HANG_S


async def test_calls_that_are_refused_are_counted_by_their_reason(tmp_path: Path) -> None:
    """Each once, by whatever door it was refused."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'sesame').hexdigest()}\n", encoding="utf-8")
    async with serving(metrics_enabled=True, max_sessions=1) as server, stream_to(server) as stream:
        await stream.open()
        async with stream_to(server) as second:
            await second.call.write(opening())
            assert (await second.refusal())[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        await stream.call.write(opening())
        await stream.refusal()
        counted = series_of(await scrape(server))
        assert counted["reidstream_sessions_limit"] == 1
    async with serving(metrics_enabled=True, tokens_file=tokens) as server, stream_to(server) as stream:
        assert (await stream.refusal())[0] == grpc.StatusCode.UNAUTHENTICATED
        counted_there = series_of(await scrape(server))
    refused = 'reidstream_calls_refused_total{reason="'
    assert {name.removeprefix(refused)[:-2]: n for name, n in counted.items() if name.startswith(refused) and n} == {
        "too_many_sessions": 1,
        "invalid_call": 1,
    }
    assert counted_there[f'{refused}unauthenticated"}}'] == 1


def ended(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The fields of every `session_ended` so far, without how long it took."""
    records = [vars(record) for record in caplog.records if record.msg == "session_ended"]
    return [{k: v for k, v in record["reidstream_fields"].items() if k != "seconds"} for record in records]


@pytest.mark.parametrize("end", ["finished", "closed", "vanished", "drained", "taken_over", "invalid_call"])
async def test_the_log_says_how_each_session_ended(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the names that its opening had, and what became of its frames."""
    caplog.set_level(logging.INFO)
    session_id = b"s" * 16
    late, broken = frame(2), frame(3, image=b"no image")
    late.frame.age_ns = HOUR_MS * 1_000_000 + 1
    async with serving() as server, stream_to(server) as stream, stream_to(server) as other:
        await stream.open(session_id=session_id, camera_id="gate", latency_budget_ms=HOUR_MS)
        for message in (frame(1), late, broken):
            await stream.call.write(message)
            await stream.result()
        (session,) = server.runtime.sessions()
        await until(lambda: session.counters.faults.total() == 2)  # a client may read faster than the server counts
        match end:
            case "finished":
                await stream.call.done_writing()
            case "closed":
                await stream.call.write(service_pb2.EmbedStreamRequest(close=session_pb2.Close()))
            case "vanished":
                stream.call.cancel()
            case "drained":
                await server.drain()
            case "taken_over":
                await other.open(session_id=session_id, epoch=1)
            case _:
                await stream.call.write(opening())
        await until(lambda: ended(caplog))
        assert ended(caplog)[0] == {
            "client": "",
            "camera_id": "gate",
            "epoch": 0,
            "cause": end,
            "answered": 1,
            "given_up": 1,
            "failed": 1,
            "over_budget": 1,
            "invalid_image": 1,
        }


async def test_health_tells_of_the_process_the_service_and_each_model() -> None:
    """SERVING while frames are taken, NOT_SERVING to watchers as soon as the drain begins."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "reidstream.v1.EmbeddingService", "fake"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(server.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await draining


async def test_reflection_lists_the_services() -> None:
    """A generic client can find out what is here."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        names = {service.name for service in answer.list_services_response.service}
        call.cancel()
    assert "reidstream.v1.EmbeddingService" in names


@pytest.mark.needs("prometheus", "promtool")
async def test_a_real_prometheus_reads_every_series(tmp_path: Path) -> None:
    """Prometheus scrapes the server and answers queries for its series; promtool finds nothing to complain of."""
    async with serving(metrics_enabled=True) as server:
        text = await scrape(server)
        checked = await asyncio.to_thread(
            subprocess.run, ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stderr + checked.stdout
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "scrape_configs: [{job_name: reidstream, scrape_interval: 1s, "
            f"static_configs: [{{targets: ['127.0.0.1:{server.metrics_port}']}}]}}]",
            encoding="utf-8",
        )
        names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line.startswith("reidstream_")}
        found = await asyncio.to_thread(_query_prometheus, tmp_path, config, names)
    assert found == names


def _query_prometheus(folder: Path, config: Path, expected: set[str]) -> set[str]:
    """Run Prometheus until it has scraped what is expected, and give the names it knows."""
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    process = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address, ready = "", False
        for line in process.stderr:  # it names its port, and that it is ready, in either order
            if match := re.search(r"address=(127\.0\.0\.1:[1-9]\d*)", line):
                address = match[1]
            ready = ready or "Server is ready" in line
            if ready and address:
                break
        query = urllib.parse.quote('{__name__=~"reidstream_.*"}')
        names: set[str] = set()

        def scraped() -> bool:
            with urllib.request.urlopen(f"http://{address}/api/v1/query?query={query}", timeout=HANG_S) as answer:
                result = json.load(answer)["data"]["result"]
            names.update(item["metric"]["__name__"] for item in result)
            return names >= expected

        wait_until(scraped)
        return names
    finally:
        process.terminate()
        process.communicate()
