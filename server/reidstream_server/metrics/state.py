"""Gauges of the scheduler's state, read when Prometheus scrapes, beside their limits.

Why a collector: a gauge that is set on every change costs time for every frame. One that a timer sets is wrong between
two ticks.

Trap: a scrape comes in a thread of its own, so the event loop takes the snapshot. If the loop does not answer in time,
the scrape gets the last snapshot.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from reidstream_server.core.statistics import SchedulerStatistics
from reidstream_server.core.terms import SchedulerLimits
from reidstream_server.runtime.from_loop import FromLoop

_LOOP_TIMEOUT_S = 1.0


class StateCollector(Collector):
    """Yields the scheduler's state. Any thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Callable[[], SchedulerStatistics],
        limits: SchedulerLimits,
        max_sessions: int,
    ) -> None:
        self._max_sessions = max_sessions
        self._limits = limits
        self._snapshot = FromLoop(loop, snapshot, _LOOP_TIMEOUT_S)

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per gauge."""
        now = self._snapshot()
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
            ("oldest_waiting_seconds", "How long the oldest queued frame has waited.", now.oldest_waiting_s),
        ):
            yield GaugeMetricFamily(f"reidstream_{name}", text, value=value)
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
