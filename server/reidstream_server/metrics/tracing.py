"""What became of the spans of recorded frames, read when Prometheus scrapes.

Why a metric: a trace that never arrives cannot say so. Trap: without tracing the series are there all the same, at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

SPAN_OUTCOMES = ("exported", "queue_full", "export_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingFigures:
    """So far. `spans`: by what became of them. `ignored`: headers that were no traceparent."""

    spans: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPAN_OUTCOMES, 0))
    ignored: int = 0


class TracingCollector(Collector):
    """Yields what `figures` tells. Any thread."""

    def __init__(self, figures: Callable[[], TracingFigures]) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterable[Metric]:
        """Two families."""
        now = self._figures()
        spans = CounterMetricFamily(
            "reidstream_trace_spans", "Spans of recorded frames by what became of them.", labels=["outcome"]
        )
        for outcome, count in now.spans.items():
            spans.add_metric([outcome], count)
        yield spans
        yield CounterMetricFamily(
            "reidstream_traceparents_ignored", "Headers of frames that were no traceparent.", value=now.ignored
        )
