"""Gauges of the scheduler's state, read when Prometheus scrapes, beside their limits.

Why a collector: a gauge that is set on every change costs time for every frame. One that a timer sets is wrong between
two ticks.

Trap: a scrape comes in a thread of its own, so the event loop takes the snapshot. If the loop does not answer in time,
the scrape gets the last snapshot.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from reidstream_server.core.statistics import SchedulerStatistics, WindowStatistics
from reidstream_server.core.terms import SchedulerLimits
from reidstream_server.errors import Refusal
from reidstream_server.runtime.from_loop import FromLoop
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.tracks.room import TrackFigures

_LOOP_TIMEOUT_S = 1.0

_BOUNDS_OF_CALLS = {
    "sessions": Refusal.TOO_MANY_SESSIONS,
    "calls": Refusal.TOO_MANY_CALLS,
    "receiving": Refusal.RECEIVING_FULL,
}
"""The bounds that keep whole calls out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What the event loop sees at one moment, and how long it has computed so far."""

    now: SchedulerStatistics
    windows: WindowStatistics
    tracks: TrackFigures
    loop_cpu_s: float


class StateCollector(Collector):
    """Yields the scheduler's state. Any thread. `refusals`: calls that were refused, so far."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runtime: Runtime,
        limits: SchedulerLimits,
        *,
        max_sessions: int,
        max_track_bytes: int,
        refusals: Mapping[Refusal, int],
    ) -> None:
        self._max_sessions = max_sessions
        self._max_track_bytes = max_track_bytes
        self._limits = limits
        self._refusals = refusals

        def look() -> _State:
            return _State(
                now=runtime.statistics(),
                windows=runtime.window_statistics(),
                tracks=runtime.track_figures(),
                loop_cpu_s=time.thread_time(),
            )

        self._snapshot = FromLoop(loop, look, _LOOP_TIMEOUT_S)

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per series."""
        state = self._snapshot()
        yield from self._gauges(state.now, state.windows, state.tracks)
        yield from _of_models(state.now)
        yield self._admission_refusals(state.now)
        yield CounterMetricFamily(
            "reidstream_event_loop_cpu_seconds", "Time that the event loop has computed.", value=state.loop_cpu_s
        )

    def _gauges(self, now: SchedulerStatistics, windows: WindowStatistics, tracks: TrackFigures) -> Iterable[Metric]:
        limits = self._limits
        for name, text, value in (
            ("sessions", "Open sessions.", now.sessions),
            ("sessions_limit", "The limit of open streams.", self._max_sessions),
            ("queue_boxes", "Boxes admitted and not yet answered.", now.queue_boxes),
            ("queue_boxes_limit", "The limit of admitted boxes.", limits.max_queue_boxes),
            ("queue_bytes", "Bytes of messages admitted and not yet staged.", now.queue_bytes),
            ("queue_bytes_limit", "The limit of admitted bytes of messages.", limits.max_queue_bytes),
            ("staged_bytes", "Bytes of decoded frames.", now.staged_bytes),
            ("staged_bytes_limit", "The limit of bytes of decoded frames.", limits.max_staged_bytes),
            ("held_answer_bytes", "Bytes of embeddings that wait to be written.", now.held_answer_bytes),
            ("held_answer_bytes_limit", "The limit of these bytes.", limits.max_held_answer_bytes),
            ("parked_bytes", "Bytes of messages that wait for room in the queue.", now.parked_bytes),
            ("parked_bytes_limit", "The limit of these bytes.", limits.max_parked_bytes),
            ("aside_frames", "Heavy frames that are being decoded.", now.aside_frames),
            ("lost_decoders", "Decoders that were given up and are still at work.", now.lost_stagings),
            ("paused_clients", "Clients that are not read at present.", now.paused_sources),
            ("parked_frames", "Frames that wait for room in the queue.", now.parked_frames),
            ("queued_frames", "Frames that wait to be staged.", now.queued_frames),
            ("staging_frames", "Frames that are being staged.", now.staging_frames),
            ("unwritten_answers", "Answers that clients have not taken.", windows.unwritten_answers),
            ("frames_in_flight", "Frames without a written answer.", windows.open_frames + windows.unwritten_answers),
            ("window_frames", "Frames that sessions hold of their windows.", windows.window_frames),
            ("window_frames_limit", "The windows of all sessions together.", windows.window_limit),
            ("full_windows", "Sessions whose window is full.", windows.full_windows),
            ("tracks", "Open tracks of sessions.", tracks.open),
            ("track_bytes", "Bytes of tracks, and of cached embeddings that wait to be written.", tracks.bytes),
            ("track_bytes_limit", "The limit of these bytes.", self._max_track_bytes),
            ("cores", "Cores that staging and inference share.", limits.cores),
            ("oldest_waiting_seconds", "How long the oldest queued frame has waited.", now.oldest_waiting_s),
        ):
            yield GaugeMetricFamily(f"reidstream_{name}", text, value=value)

    def _admission_refusals(self, now: SchedulerStatistics) -> Metric:
        found = CounterMetricFamily(
            "reidstream_admission_refusals", "Frames and calls that found no room in a bound.", labels=["bound"]
        )
        for bound, count in now.refusals.items():
            found.add_metric([bound.value], count)
        for name, refusal in _BOUNDS_OF_CALLS.items():
            found.add_metric([name], self._refusals.get(refusal, 0))
        return found


def _of_models(now: SchedulerStatistics) -> Iterable[Metric]:
    ready = GaugeMetricFamily("reidstream_ready_crops", "Crops that wait for a slot.", labels=["model"])
    running = GaugeMetricFamily("reidstream_running_batches", "Batches in flight.", labels=["model"])
    crops, batches = Counter[str](), Counter[str]()
    for state in now.models:  # two of one name while the older one is retiring: one sample for the name
        crops[state.name] += state.ready_crops
        batches[state.name] += state.running_batches
    for name in crops:
        ready.add_metric([name], crops[name])
        running.add_metric([name], batches[name])
    yield ready
    yield running
