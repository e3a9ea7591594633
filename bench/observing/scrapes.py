"""What scrapes do to frames: delays while /metrics is asked for, beside delays while nobody asks, of the same cameras.

A hundred cameras send all the time, at half of what the server can do. Meanwhile phases follow each other in a drawn
order: no scrapes, one a second, ten a second. A ratio of delays compares the frames of one kind of phase with those of
another, of one run.

How long a scrape computes on the event loop is told by the page itself (`reidstream_event_loop_cpu_seconds_total`):
many are made while the cameras are there and send nothing. Trap: that is CPU time, also of the loop's waking up; a page
is made in another thread, which Python lets compute in turns with the loop.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from bench.load.pictures import Content, Pictures
from bench.load.question import Load, LoadResult, run_load
from bench.machine.processes import BenchFailed, Place, pinned, server

from .camera import Camera, connection_to, stream_on
from .pairs import Progress, Ratio, of_medians

CAMERAS = 100
_SERVER = ("--port", "0", "--metrics-port", "0", "--log-format", "json", "--rpc-metrics")
_ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
_PATIENCE_S = 60.0
_HALF = 0.5
_PEAK_S, _WARMUP_S, _BOXES = 4.0, 2.0, 2
_LOOKS = 50


class Rate(Enum):
    """Scrapes a second."""

    NONE = 0
    ONE = 1
    TEN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrapes:
    """`delays_s`: of the frames that were sent in each phase. `took_s`: how long scrapes took while frames were sent.

    `loop_s`: CPU time of the event loop for a scrape; `frames_per_s`: what all cameras sent.
    """

    delays_s: Mapping[Rate, Sequence[Sequence[float]]]
    took_s: Sequence[float]
    loop_s: float
    frames_per_s: float
    series: int

    def percentile_ms(self, rate: Rate, percentile: float) -> float:
        """The median of the rounds."""
        return float(np.median(self._percentiles(rate, percentile))) * 1000

    def ratio(self, rate: Rate, percentile: float) -> Ratio:
        """By the phase without scrapes of the same round."""
        return of_medians(self._percentiles(rate, percentile), self._percentiles(Rate.NONE, percentile))

    def _percentiles(self, rate: Rate, percentile: float) -> Sequence[float]:
        return [float(np.percentile(delays, percentile)) for delays in self.delays_s[rate]]


@dataclass(slots=True)
class _Phase:
    rate: Rate
    begin_s: float
    end_s: float


@dataclass(slots=True)
class _Scraper:
    """Asks for the page, as Prometheus does, in phases."""

    port: int
    phase_s: float
    phases: list[_Phase] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def page(self) -> str:
        """One scrape."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)) as connection:
            connection.request("GET", "/metrics", headers={"Accept": _ACCEPT})
            return connection.getresponse().read().decode()

    def run(self, over: threading.Event, progress: Progress) -> None:
        """One phase after the other, each round in an order of its own."""
        drawn = random.Random(0)  # noqa: S311 - an order
        while not over.is_set():
            for rate in drawn.sample(list(Rate), len(Rate)):
                phase = _Phase(rate, time.perf_counter(), time.perf_counter() + self.phase_s)
                self._scrape(phase, over)
                if over.is_set():
                    return
                self.phases.append(phase)
            progress()

    def _scrape(self, phase: _Phase, over: threading.Event) -> None:
        for number in range(round(phase.rate.value * self.phase_s)):
            due = phase.begin_s + (number + 1 / 2) / phase.rate.value
            if over.wait(max(0.0, due - time.perf_counter())):
                return
            began = time.perf_counter()
            self.page()
            self.took_s.append(time.perf_counter() - began)
        over.wait(max(0.0, phase.end_s - time.perf_counter()))
        phase.end_s = time.perf_counter()

    def loop_s(self) -> float:
        """What a scrape costs the event loop, which has nothing else to do."""
        pages = [_loop_cpu_s(self.page()) for _ in range(_LOOKS + 1)]
        return (pages[-1] - pages[0]) / _LOOKS


def scrapes(rounds: int, phase_s: float, cameras: int, place: Place, progress: Progress) -> Scrapes:
    """Measure. Raises BenchFailed."""
    with (
        tempfile.TemporaryDirectory(prefix="reidstream-bench-") as folder,
        pinned(place.load),
        server("bench.ceilings.instant", _SERVER, place.server) as served,
    ):
        names = []
        for number, message in enumerate(Pictures(content=Content.CROPS, boxes=_BOXES).messages()):
            (Path(folder) / f"{number}.bin").write_bytes(message)
            names.append(str(Path(folder) / f"{number}.bin"))

        def send(measure_s: float, frames_per_s: float | None) -> LoadResult:
            load = Load(
                target=served.address,
                server_pid=served.pid,
                server_cores=list(place.server),
                messages=names,
                warmup_s=_WARMUP_S,
                measure_s=measure_s,
                connections=cameras,
                window=1,
                frames_per_s=frames_per_s,
            )
            return run_load(load, place.load)

        peak = send(_PEAK_S, None)
        rate = _HALF * len(peak.delays_s) / peak.used.seconds
        scraper = _Scraper(served.metrics_port, phase_s)
        with _scraping(scraper, progress):
            seen = send(rounds * len(Rate) * phase_s, rate)
        loop_s = asyncio.run(_beside_idle_cameras(served.address, cameras, scraper))
        return Scrapes(
            delays_s=_by_phase(scraper.phases, seen),
            took_s=scraper.took_s,
            loop_s=loop_s,
            frames_per_s=rate,
            series=sum(not line.startswith("#") for line in scraper.page().splitlines()),
        )


@contextmanager
def _scraping(scraper: _Scraper, progress: Progress) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=scraper.run, args=(over, progress), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _beside_idle_cameras(address: str, cameras: int, scraper: _Scraper) -> float:
    """What a scrape costs the event loop while so many sessions are open."""
    channels = [connection_to(address) for _ in range(cameras)]
    try:
        for channel in channels:
            await Camera(stream_on(channel)).open()
        return await asyncio.to_thread(scraper.loop_s)
    finally:
        for channel in channels:
            await channel.close()


def _by_phase(phases: Sequence[_Phase], seen: LoadResult) -> Mapping[Rate, Sequence[Sequence[float]]]:
    """Whole rounds only, in which each kind of phase had frames."""
    sent, delays = np.asarray(seen.sent_s) + seen.began_s, np.asarray(seen.delays_s)
    found: dict[Rate, list[list[float]]] = {rate: [] for rate in Rate}
    for first in range(0, len(phases) - len(Rate) + 1, len(Rate)):
        group = {
            phase.rate: delays[(sent >= phase.begin_s) & (sent < phase.end_s)].tolist()
            for phase in phases[first : first + len(Rate)]
        }
        if all(group.values()):
            for rate in Rate:
                found[rate].append(group[rate])
    if not found[Rate.NONE]:
        raise BenchFailed("no round had frames in each of its phases; measure longer, on an idle machine")
    return found


def _loop_cpu_s(page: str) -> float:
    found = re.search(r"^reidstream_event_loop_cpu_seconds_total (\S+)$", page, re.MULTILINE)
    if found is None:
        raise BenchFailed("the page of metrics does not tell the event loop's CPU time")
    return float(found[1])
