"""Frames of every kind over streams that come and go, and what the server holds afterwards.

The real server with the embedded model runs on one core; the cameras are this process, on the other. Samples are taken
with all streams closed, so that frames in flight do not look like growth.

Trap: memory grows until everything was needed once: decoders, the network's buffers, the pool of frames, and the C
library's heaps, which keep the size of their busiest moment. That is why there is a warm-up.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.parser import text_string_to_metric_families

from bench.machine.processes import BenchFailed, Place, Server, pinned, server
from reidstream_client import ReidError

from .book import Book
from .footprint import Footprint, footprint_of
from .kinds import kinds
from .traffic import Traffic
from .trimmed import Memory, take_memory

CAMERAS = 7
_WARMUP, _STRETCH, _LEAST = 30_000, 2_500, 500
_QUIET_S, _SCRAPE_S, _LOOK_S, _CALM_LOOKS = 20.0, 1.0, 0.2, 5
_FLAGS = ("--port", "0", "--metrics-port", "0", "--log-format", "json")
_SMALL_QUEUE = ("--max-boxes-per-frame", "16", "--max-queue-boxes", "48")  # so that every policy has something to do
_HELD = ("sessions", "queue_boxes", "queue_bytes", "staged_bytes", "parked_frames", "ready_crops", "running_batches")

Progress = Callable[[int], None]
"""Called with the number of frames that were just sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the server held after `frames` frames since the warm-up, with all streams closed.

    `memory` was measured right after `footprint`, when the server had given back what it had freed.
    """

    frames: int
    footprint: Footprint
    memory: Memory


@dataclass(slots=True, kw_only=True)
class Soak:
    """A whole run. `own`: what this process, the cameras', held after the warm-up and at the end.

    `held`: the server's gauges at the end.
    """

    frames: int
    warmup: int
    book: Book
    seconds: float = 0.0
    scrapes: int = 0
    samples: list[Sample] = field(default_factory=list)
    own: list[Footprint] = field(default_factory=list)
    held: dict[str, float] = field(default_factory=dict)


def soak(frames: int, *, seed: int, place: Place, progress: Progress) -> Soak:
    """Run it. Raises BenchFailed."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "memory"
        flags = ["--memory-file", str(file), *_FLAGS, *_SMALL_QUEUE]
        with server("bench.soak.trimmed", flags, place.server) as served, pinned(place.load):
            try:
                return asyncio.run(_soak(served, file, frames, seed, progress))
            except ReidError as error:
                raise BenchFailed(f"a camera could not go on: {error}") from error


def stretches(frames: int) -> tuple[int, list[int]]:
    """Frames of the warm-up, and of each stretch between two samples."""
    length = max(_LEAST, min(_STRETCH, frames // 4))
    return min(_WARMUP, max(_LEAST, frames * 3 // 5)), [min(length, frames - at) for at in range(0, frames, length)]


async def _soak(served: Server, file: Path, frames: int, seed: int, progress: Progress) -> Soak:
    traffic = Traffic(served.address, kinds(), cameras=CAMERAS, seed=seed)
    warmup, lengths = stretches(frames)
    run = Soak(frames=frames, warmup=warmup, book=traffic.book)
    async with _scraping(served, run):
        await traffic.stretch(warmup)
        progress(warmup)
    run.samples.append(await _sample(served, file, 0, None))
    run.own.append(footprint_of(os.getpid()))
    began, sent = time.perf_counter(), 0
    for length in lengths:
        async with _scraping(served, run):
            await traffic.stretch(length)
            progress(length)
        sent += length
        run.samples.append(await _sample(served, file, sent, run.samples[0].footprint))
    run.seconds = time.perf_counter() - began
    run.own.append(footprint_of(os.getpid()))
    run.held = _held(await _scrape(served))
    return run


@asynccontextmanager
async def _scraping(served: Server, run: Soak) -> AsyncIterator[None]:
    """Read the metrics once a second meanwhile, as Prometheus would."""

    async def scrape() -> None:
        while True:
            await _scrape(served)
            run.scrapes += 1
            await asyncio.sleep(_SCRAPE_S)

    task = asyncio.create_task(scrape())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _scrape(served: Server) -> str:
    def get() -> str:
        connection = http.client.HTTPConnection("127.0.0.1", served.metrics_port, timeout=_QUIET_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(get)


def _held(metrics: str) -> dict[str, float]:
    """The gauges of what the server holds."""
    values = {
        sample.name.removeprefix("reidstream_"): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    return {name: values[name] for name in _HELD}


async def _sample(served: Server, file: Path, frames: int, before: Footprint | None) -> Sample:
    footprint = await _calm(served, before)
    os.kill(served.pid, signal.SIGUSR1)
    end = time.perf_counter() + _QUIET_S
    while (memory := take_memory(file)) is None:
        if time.perf_counter() > end:
            raise BenchFailed(f"the server did not report its memory within {_QUIET_S:.0f} s")
        await asyncio.sleep(_LOOK_S)
    return Sample(frames=frames, footprint=footprint, memory=memory)


async def _calm(served: Server, before: Footprint | None) -> Footprint:
    """What the server holds once it has calmed down, or after 20 seconds if it has not.

    Connections end a little later than streams. So we look until it holds no more than `before`; without `before`,
    until nothing has changed for a second.
    """
    looks: list[Footprint] = []
    end = time.perf_counter() + _QUIET_S
    while time.perf_counter() < end:
        held = _held(await _scrape(served))
        await asyncio.sleep(_LOOK_S)
        try:
            looks.append(footprint_of(served.pid))
        except OSError as error:
            raise BenchFailed(f"the server is gone: {error}") from error
        last = looks[-_CALM_LOOKS:]
        same = len(last) == _CALM_LOOKS and len({_countable(look) for look in last}) == 1
        calm = same if before is None else all(map(int.__le__, _countable(looks[-1]), _countable(before)))
        if calm and not any(held.values()):
            break
    return looks[-1]


def _countable(footprint: Footprint) -> tuple[int, int]:
    return footprint.descriptors, footprint.segments
