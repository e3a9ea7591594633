"""Calls: how many are open, beside their limits, how much of all that one client has, and how calls have ended.

Why apart from the scheduler's state: doors count these, and metrics know no door. Whoever puts the server together
gives a function that tells. Trap: a scrape comes in a thread of its own, so the event loop counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures:
    """`sessions_of_largest`: open streams of the client that has most. `calls`: unary ones in progress. `receiving`:
    messages of such calls that are arriving. `ended`: by door, method and status, so far; every series is in it.
    """

    sessions_of_largest: int
    sessions_per_client: int
    calls: int
    max_calls: int
    receiving: int
    ended: Mapping[tuple[str, str, str], int]


class CallCollector(Collector):
    """Yields what `figures` tells. Any thread, if `figures` may be called in any."""

    def __init__(self, figures: Callable[[], CallFigures]) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per gauge."""
        now = self._figures()
        for name, text, value in (
            ("sessions_of_largest_client", "Open streams of the client that has most.", now.sessions_of_largest),
            ("sessions_per_client_limit", "The limit of open streams of one client.", now.sessions_per_client),
            ("calls", "Unary calls in progress.", now.calls),
            ("calls_limit", "The limit of unary calls in progress.", now.max_calls),
            ("receiving_calls", "Unary calls whose message is arriving.", now.receiving),
        ):
            yield GaugeMetricFamily(f"reidstream_{name}", text, value=value)
        ended = CounterMetricFamily(
            "reidstream_calls_ended", "Calls by how they ended.", labels=["door", "method", "status"]
        )
        for labels, count in now.ended.items():
            ended.add_metric(labels, count)
        yield ended
