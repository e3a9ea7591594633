"""How many lines of the log were lost, read when Prometheus scrapes.

Why a metric: a log that cannot be written cannot say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override


class LogCollector(Collector):
    """Yields one sample. Any thread. `dropped`: how many lines, so far."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    @override
    def collect(self) -> Iterable[Metric]:
        """One family."""
        yield CounterMetricFamily(
            "reidstream_log_lines_dropped", "Lines of the log that could not be written.", value=self._dropped()
        )
