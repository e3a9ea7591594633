"""What operators read at /metrics: every series from the first scrape, their page, and a real Prometheus."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import platform
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_engines.protocol import DeviceUsage, PoolUsage
from reidstream_proto.v1 import contract, frame_pb2, session_pb2
from reidstream_server import __version__
from reidstream_server.app import RunningServer
from reidstream_server.core.effects import Answer, FrameTimes
from reidstream_server.core.terms import SessionKey
from reidstream_server.runtime.session import JobAnswer
from tests.support.certificates import Pair, authority, signed
from tests.support.gate import Gate
from tests.support.harness import frame, opening, real_engine, serving, stream_to, until
from tests.support.patience import HANG_S, wait_until
from tests.support.prometheus import running_prometheus

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000
OURS = ("reidstream_", "rpc_", "nv_")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def scrape(server: RunningServer, accept: str = "") -> str:
    """The text of /metrics."""

    def ask() -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=HANG_S)) as connection:
            connection.request("GET", "/metrics", headers={"Accept": accept})
            return connection.getresponse().read().decode()

    return await asyncio.to_thread(ask)


def series_of(text: str) -> dict[str, float]:
    """Our samples by name and labels."""
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(OURS)
    }


@pytest.mark.parametrize("all_of_them", [False, True])
async def test_every_series_is_there_from_the_first_scrape(*, all_of_them: bool) -> None:
    """No sample appears later than the first scrape, whatever frames do after it."""
    more = {"rpc_metrics": all_of_them, "triton_metrics": all_of_them}
    async with serving(metrics_enabled=True, **more) as server:
        first = series_of(await scrape(server))
        async with stream_to(server) as stream:
            await stream.open()
            for message in (frame(1), frame(1), frame(2, image=b""), frame(3, boxes=[])):
                await stream.call.write(message)
                await stream.result()
            await stream.call.done_writing()
            await stream.results()
        later = series_of(await scrape(server))
    assert set(later) == set(first)
    for others in ("rpc_", "nv_"):
        assert any(name.startswith(others) for name in first) == all_of_them
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


def answer_at(ms: int) -> JobAnswer:
    """Of a frame whose batch ended a millisecond before that."""
    times = FrameTimes(
        arrived_ns=0,
        age_ns=0,
        staging_ns=1_000_000,
        decoded_ns=4_000_000,
        first_batch_ns=5_000_000,
        last_batch_ns=(ms - 1) * 1_000_000,
        batch_sizes=(1,),
    )
    return Answer(session=SessionKey(1), frame_id=1, payload=None, fault=None, outcomes=(), times=times)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, as in the plain format, and its labels."""

    name: str
    labels: frozenset[str]


def served(text: str) -> set[Family]:
    """Our families in an OpenMetrics page."""
    return {
        Family(
            family.name + "_total" * (family.type == "counter"),
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in openmetrics_families(text)  # type: ignore[no-untyped-call]
        if family.name.startswith(OURS)
    }


def documented(page: str) -> set[Family]:
    """The rows of the page's tables of metrics: a name, its labels, and what it means."""
    rows = re.findall(r"^\| `((?:reidstream|rpc|nv)_\w+)` \|([^|]*)\| \S[^|]*\|$", page, re.MULTILINE)
    return {Family(name, frozenset(re.findall(r"`(\w+)`", labels))) for name, labels in rows}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return signed(authority(tmp_path, "ca"), "gate", alternative="DNS:gate")


async def test_metrics_and_their_page_name_the_same_series(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    """docs/metrics.md lists exactly what the server has, with its labels; what only GPUs, TLS or a setting have is
    there with them, and not without.
    """
    only_there = {"reidstream_device", "reidstream_tls", "rpc", "nv"}
    async with serving(metrics_enabled=True) as server:
        bare = await scrape(server)
    assert not [name for name in series_of(bare) if name.startswith(tuple(only_there))]
    more = {"tls_cert_file": pair.certificate, "tls_key_file": pair.key, "rpc_metrics": True}
    more["triton_metrics"] = True
    async with serving(metrics_enabled=True, **more) as server:
        pool = PoolUsage(in_use=1, idle=2, bound=4)
        usage = DeviceUsage(device="cuda:0", memory=pool, pinned=pool, decoded=5, declined=6)
        monkeypatch.setattr(FakeStager, "devices", lambda _: (usage,))
        server.parts.series.self_tested("fake", 0.99999)
        text = await scrape(server, OPENMETRICS)
        series = series_of(await scrape(server))
    assert series['reidstream_device_frame_bytes{device="cuda:0",memory="pinned",state="idle"}'] == 2
    assert series['reidstream_device_decodes_total{device="cuda:0",outcome="declined"}'] == 6
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert served(text) - documented(page) == set(), "the server has these, and the page does not"
    assert documented(page) - served(text) == set(), "the page has these, and the server does not"


def test_the_comparison_with_the_page_can_fail() -> None:
    """For a metric that only one of them has, and for a label that only one of them has."""
    page = "| `reidstream_a_total` | `model` | What. |\n| `reidstream_b` | | What. |\n"
    text = (
        '# TYPE reidstream_a counter\nreidstream_a_total{model="x"} 1\n'
        "# TYPE reidstream_b gauge\nreidstream_b 1\n# EOF\n"
    )
    assert documented(page) == served(text)
    for wrong in (page.replace("_b", "_c"), page.replace("model", "name"), page.replace("| | What", "| `x` | What")):
        assert documented(wrong) - served(text)
        assert served(text) - documented(wrong)


async def test_no_label_names_a_camera_a_client_or_a_track() -> None:
    """And the names follow Prometheus: base units, `_total` for what only rises, `_info` for facts."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server:
        text = await scrape(server, OPENMETRICS)
    names = {label for family in served(text) for label in family.labels}
    assert names.isdisjoint({"camera", "camera_id", "client", "client_id", "track", "track_id", "session", "peer"})
    for family in openmetrics_families(text):  # type: ignore[no-untyped-call]
        assert not re.search(r"_(ms|ns|us|kb|mb|minutes|percent)(_|$)", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not (family.type == "gauge" and family.name.endswith("_total")), family.name


@pytest.mark.parametrize("cameras", [2, 100])
async def test_the_number_of_series_does_not_depend_on_the_number_of_cameras(cameras: int) -> None:
    """A hundred cameras that were served leave as many series as none."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server, AsyncExitStack() as stack:
        before, windows = series_of(await scrape(server)), 0
        for number in range(cameras):
            stream = await stack.enter_async_context(stream_to(server))
            windows += (await stream.open(camera_id=f"camera {number}")).window.frames
            await stream.call.write(frame(1))
            await stream.result()
        after = series_of(await scrape(server))
    assert set(after) == set(before)
    assert (before["reidstream_sessions"], after["reidstream_sessions"]) == (0, cameras)
    assert after["reidstream_window_frames_limit"] == windows


async def test_a_scrape_takes_as_many_turns_of_the_event_loop_whatever_is_open() -> None:
    """Three snapshots, of which one looks at each session: that is all that a scrape costs the loop."""
    async with serving(metrics_enabled=True) as server, AsyncExitStack() as stack:
        for _ in range(20):
            await (await stack.enter_async_context(stream_to(server))).open()
        looks = 0
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe
        assert server.watch is not None
        await asyncio.to_thread(server.watch.stop)  # it looks, too

        def counted(callback: Callable[..., object], *arguments: object, **options: Any) -> asyncio.Handle:
            nonlocal looks
            looks += getattr(callback, "__qualname__", "").startswith("FromLoop")
            return call(callback, *arguments, **options)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        await scrape(server)
    assert looks == 3


async def test_metrics_tell_where_the_frames_are() -> None:
    """With an engine that stands still: in a batch, ready, and in the windows of their sessions."""
    gate = Gate()
    engine = FakeEngine(max_batch=2, slots=1, cores=1, script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with (
        serving(engine, metrics_enabled=True, default_window_frames=3) as server,
        stream_to(server) as full,
        stream_to(server) as idle,
    ):
        await full.open()
        await idle.open()
        for number in (1, 2, 3):
            await full.call.write(frame(number))
        await until(lambda: gate.entered == 1 and server.runtime.window_statistics().open_frames == 3)
        there = series_of(await scrape(server))
        gate.opened.set()
        for _ in range(3):
            await full.result()
        await until(lambda: not server.runtime.window_statistics().unwritten_answers)
        later = series_of(await scrape(server))
    assert there["reidstream_frames_in_flight"] == 3
    assert (there["reidstream_window_frames"], there["reidstream_window_frames_limit"]) == (3, 6)
    assert there["reidstream_full_windows"] == 1
    assert there['reidstream_running_batches{model="fake"}'] == there['reidstream_running_batches_limit{model="fake"}']
    assert there['reidstream_batch_size_limit{model="fake"}'] == 2
    assert there["reidstream_cores"] >= 1
    assert there['reidstream_engine_busy_seconds_total{model="fake"}'] == 0
    assert (later["reidstream_frames_in_flight"], later["reidstream_full_windows"]) == (0, 0)
    assert later['reidstream_engine_busy_seconds_total{model="fake"}'] > 0
    assert later['reidstream_core_busy_seconds_total{work="inference"}'] > 0
    assert later["reidstream_event_loop_cpu_seconds_total"] > there["reidstream_event_loop_cpu_seconds_total"]


async def test_staging_in_a_thread_takes_a_core() -> None:
    """A frame that only points at memory takes none."""
    async with serving(real_engine(), metrics_enabled=True) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        await stream.result()
        series = series_of(await scrape(server))
    assert series['reidstream_core_busy_seconds_total{work="staging"}'] > 0
    assert series['reidstream_core_busy_seconds_total{work="aside"}'] == 0


async def test_metrics_tell_which_bound_had_no_room() -> None:
    """Of boxes for a frame, and of sessions for a stream."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    changes = {"max_queue_boxes": 4, "max_boxes_per_frame": 2, "max_sessions": 1}
    async with serving(engine, metrics_enabled=True, **changes) as server, stream_to(server) as stream:
        await stream.open(overload_policy=session_pb2.OVERLOAD_POLICY_REJECT)
        for number in (1, 2):
            await stream.call.write(frame(number))
        await until(lambda: sum(server.runtime.statistics().refusals.values()) == 1)
        async with stream_to(server) as second:
            await second.call.write(opening())
            await second.refusal()
        series = series_of(await scrape(server))
        gate.opened.set()
    refused = {name: count for name, count in series.items() if "admission_refusals" in name and count}
    assert refused == {
        'reidstream_admission_refusals_total{bound="boxes"}': 1,
        'reidstream_admission_refusals_total{bound="sessions"}': 1,
    }


async def test_metrics_tell_how_calls_ended() -> None:
    """By door, method and status."""
    async with serving(metrics_enabled=True) as server:
        async with stream_to(server) as stream:
            await stream.open()
            await stream.call.done_writing()
            await stream.results()
        ended = series_of(await scrape(server))
    labels = 'door="grpc",method="reidstream.v1.EmbeddingService/EmbedStream",status="OK"'
    assert ended[f"reidstream_calls_ended_total{{{labels}}}"] == 1
    assert sum(count for name, count in ended.items() if name.startswith("reidstream_calls_ended_total")) == 1


async def test_metrics_tell_when_the_certificate_expires(pair: Pair) -> None:
    """In seconds since 1970: in two days, for this one."""
    tls = {"tls_cert_file": pair.certificate, "tls_key_file": pair.key}
    async with serving(metrics_enabled=True, **tls) as server:
        series = series_of(await scrape(server))
    left_s = series["reidstream_tls_certificate_expiry_timestamp_seconds"] - time.time()
    assert 0 < left_s <= 2 * 86_400


async def test_metrics_tell_what_was_built() -> None:
    """The server's version, Python's and gRPC's."""
    async with serving(metrics_enabled=True) as server:
        text = await scrape(server)
    (line,) = (line for line in text.splitlines() if line.startswith("reidstream_build_info{"))
    python = platform.python_version()
    assert line == f'reidstream_build_info{{grpc="{grpc.__version__}",python="{python}",version="{__version__}"}} 1.0'


async def test_both_formats_say_the_same() -> None:
    """Whoever asks for OpenMetrics gets what its standard allows, with the samples of the plain page."""
    async with serving(metrics_enabled=True) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        await stream.result()
        await until(lambda: not server.runtime.window_statistics().unwritten_answers)
        plain, other = await scrape(server), await scrape(server, OPENMETRICS)
    strict = openmetrics_families(other)  # type: ignore[no-untyped-call]
    names = {sample.name for family in strict for sample in family.samples}
    assert names == {sample.name for family in plain_families(plain) for sample in family.samples}
    changing = ("reidstream_event_loop", "reidstream_memory", "reidstream_private_memory")
    same = {name: value for name, value in series_of(plain).items() if not name.startswith(changing)}
    assert same.items() <= series_of(other).items()


async def test_an_exemplar_reaches_a_scraper_that_asks_for_them() -> None:
    """A frame with a trace leaves its id; the plain page has none."""
    async with serving(metrics_enabled=True) as server:
        server.parts.observer.answered(answer_at(21), 21_000_000, TRACE)
        plain, other = await scrape(server), await scrape(server, OPENMETRICS)
    assert TRACE not in plain
    found = [line for line in other.splitlines() if TRACE in line]
    assert len(found) == 8
    assert all(f'# {{trace_id="{TRACE}"}} ' in line for line in found)


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


@pytest.mark.needs("promtool")
async def test_promtool_finds_nothing_to_complain_of() -> None:
    """Names, units and help texts are those that Prometheus recommends."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server:
        text = await scrape(server)
    command = ["promtool", "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr + checked.stdout


@pytest.mark.needs("prometheus")
async def test_a_real_prometheus_reads_every_series(tmp_path: Path) -> None:
    """Prometheus scrapes the server, knows every series and a frame's exemplar, and runs the queries of the page."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    queries = re.findall(r"^```promql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(queries) == page.count("```promql")
    async with serving(metrics_enabled=True, rpc_metrics=True) as server, stream_to(server) as stream:
        await stream.open()
        text = await scrape(server)
        server.parts.observer.answered(answer_at(21), 21_000_000, TRACE)
        names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line.startswith(OURS)}
        assert server.metrics_port is not None
        await asyncio.to_thread(_ask_prometheus, tmp_path, server.metrics_port, names, queries)


def _ask_prometheus(folder: Path, port: int, names: set[str], queries: Sequence[str]) -> None:
    """Run Prometheus until it has answered all that is asked."""
    config = (
        "scrape_configs: [{job_name: reidstream, scrape_interval: 1s, "
        f"static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
    )
    with running_prometheus(folder, config, "--enable-feature=exemplar-storage") as prometheus:

        def known() -> set[str]:
            found = prometheus.query('{__name__=~"(reidstream|rpc)_.*"}')
            return {item["metric"]["__name__"] for item in found}

        def traces() -> set[str]:
            wanted = 'reidstream_frame_age_seconds_bucket or reidstream_frames_total{outcome="answered"}'
            found = prometheus.ask("query_exemplars", query=wanted, start="0", end="9999999999")
            return {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}

        wait_until(lambda: known() == names)
        wait_until(lambda: traces() == {TRACE})
        wait_until(lambda: all(map(prometheus.query, queries)))
