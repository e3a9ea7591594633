"""Every query of every panel, asked of a real Prometheus that scrapes real servers: what nobody runs rots."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from deploy.prometheus.command import rules_text
from deploy.prometheus.durations import Duration
from reidstream_engines.fake import FakeEngine, FakeStager, fake_spec
from reidstream_engines.protocol import DeviceUsage, EngineInfo, PoolUsage
from tests.support.certificates import authority, signed
from tests.support.dashboards.board import Asked, Chosen, boards
from tests.support.dashboards.cameras import busy, deaf, server_of, small_server
from tests.support.patience import HANG_S
from tests.support.prometheus import Prometheus, running_prometheus

ROOT = Path(__file__).parents[2]
SCRAPE_MS = 500
NOWHERE = "127.0.0.1:9"
"""A server that Prometheus knows and does not reach."""

# Panels that stay empty without what their key names: the test makes it happen, in another server.
GPU, TLS, DRAIN = "a GPU", "TLS", "a drain"
ONLY_WITH = {
    GPU: {"How much GPU memory do frames take?", "Does the GPU decode the pictures?"},
    TLS: {"When does the first certificate expire?", "When does each certificate expire?"},
    DRAIN: {"Drains"},
}
# Queries that give 0 all the time here, by a series in them, and where a test has it rise.
QUIET = {
    "reidstream_log_lines_dropped_total": "tests/chaos/test_log_reader.py",
    "reidstream_connections_ended_total": "tests/integration/test_memory.py",
    "reidstream_trace_spans_total": "tests/integration/test_tracing.py",
    "reidstream_traceparents_ignored_total": "tests/integration/test_tracing.py",
    "reidstream_aside_frames": "tests/unit/server/runtime",
    "reidstream_lost_decoders": "tests/unit/server/runtime",
    "reidstream_tracks": "tests/integration/test_tracks.py",
    "reidstream_track_bytes": "tests/integration/test_tracks.py",
    'outcome="cached"': "tests/integration/test_tracks.py",
}
POOL = PoolUsage(in_use=3, idle=2, bound=9)


def config(targets: Iterable[str]) -> str:
    """Of Prometheus: scrapes and rules, both twice a second."""
    every = f"{SCRAPE_MS}ms"
    return f"""
global: {{scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every}}}
rule_files: [reidstream.rules.yml]
scrape_configs: [{{job_name: reidstream, static_configs: [{{targets: {list(targets)}}}]}}]
"""


def hasty(duration: Duration) -> Duration:
    """The rules of production with windows and waits of seconds."""
    return Duration(min(duration.ms, 3_000))


class Panels:
    """What they show, for what is chosen at the top; the interval is the one that Grafana computes for such scrapes."""

    def __init__(self, prometheus: Prometheus, *instances: str) -> None:
        self._prometheus, self._since = prometheus, time.time()
        self._chosen = Chosen(instances=instances, rate_interval=f"{SCRAPE_MS * 4}ms", range="30s")

    def values(self, asked: Asked) -> list[float]:
        """All that is drawn of a query: without what is no number."""
        asked_at = {"start": str(self._since - 60), "end": str(time.time()), "step": f"{SCRAPE_MS}ms"}
        found = self._prometheus.ask("query_range", query=self._chosen.into(asked.expr), **asked_at)["result"]
        numbers = (float(value) for series in found for _, value in series["values"])
        return [number for number in numbers if not math.isnan(number)]

    def fill(self, asked: Iterable[Asked], *, moving: bool) -> None:
        """Wait until each query has drawn something; if `moving`, something that is not 0, unless it is quiet."""
        deadline = time.monotonic() + HANG_S
        left = list(asked)
        while left:
            left = [one for one in left if not self._filled(one, moving=moving)]
            assert not left or time.monotonic() < deadline, f"still empty: {[str(one) for one in left]}"
            time.sleep(SCRAPE_MS / 1000)

    def _filled(self, asked: Asked, *, moving: bool) -> bool:
        values = self.values(asked)
        quiet = needs(asked) == DRAIN or any(series in asked.expr for series in QUIET)
        return bool(values) and (quiet or not moving or any(values))


class GpuStager(FakeStager):
    """One that says that it has a GPU, which works."""

    decoded = 0

    @override
    def devices(self) -> tuple[DeviceUsage, ...]:
        self.decoded += 5
        return (DeviceUsage(device="cuda:0", memory=POOL, pinned=POOL, decoded=self.decoded, declined=1),)


class Fallback(FakeEngine):
    """One that runs in the place of another."""

    @property
    @override
    def info(self) -> EngineInfo:
        return replace(super().info, fallback_reason="the other one is ill")


def needs(asked: Asked) -> str:
    """What the panel stays empty without."""
    return next((thing for thing, titles in ONLY_WITH.items() if asked.panel in titles), "")


@pytest.mark.needs("prometheus", "openssl")
async def test_every_query_of_every_panel_shows_something(tmp_path: Path) -> None:
    """Of servers under load, for all servers and for two that are chosen; and what only comes with something else is
    there with it, and empty without.
    """
    every = [asked for board in boards() for asked in board.asked()]
    (tmp_path / "reidstream.rules.yml").write_text(rules_text(timing=hasty), encoding="utf-8")
    pair = signed(authority(tmp_path, "ca"), "gate", alternative="DNS:gate")
    large = FakeEngine(fake_spec(dim=4096))
    async with (
        small_server() as bare,
        server_of(Fallback(), GpuStager(), metrics_enabled=True) as other,
        server_of(large, FakeStager(), metrics_enabled=True, stall_timeout_s=0.2) as unread,
        server_of(
            FakeEngine(), FakeStager(), metrics_enabled=True, tls_cert_file=pair.certificate, tls_key_file=pair.key
        ) as leaving,
        busy(bare),
        deaf(unread),
    ):
        await leaving.drain()
        servers = (bare, other, unread, leaving)
        names = [f"127.0.0.1:{server.metrics_port}" for server in servers]

        def look() -> None:
            with running_prometheus(tmp_path, config([*names, NOWHERE])) as prometheus:
                Panels(prometheus).fill(every, moving=True)
                two = Panels(prometheus, *names[:2])
                two.fill((asked for asked in every if needs(asked) in {"", GPU}), moving=False)
                for asked in every:
                    if needs(asked):
                        assert not Panels(prometheus, names[0]).values(asked), f"{asked} needs {needs(asked)}"

        await asyncio.to_thread(look)


def test_what_is_said_of_panels_is_of_panels_that_are_there() -> None:
    """A panel that was renamed is looked at like all others."""
    every = [asked for board in boards() for asked in board.asked()]
    assert set().union(*ONLY_WITH.values()) <= {asked.panel for asked in every}
    for series, where in QUIET.items():
        assert any(series in asked.expr for asked in every)
        assert (ROOT / where).exists()
