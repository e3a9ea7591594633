"""The budget of the process's memory, and what is held of it now, read when Prometheus scrapes.

Trap: some parts are counted, others can only be measured together. `uncounted` is what is private and neither there at
the start nor counted: messages that have not come whole, and free memory that was not given back yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from reidstream_server.memory.budget import MemoryBudget, Part
from reidstream_server.memory.watch import MemoryWatch

UNCOUNTED = "uncounted"


class MemoryCollector(Collector):
    """Yields the budget and what is held. Any thread."""

    def __init__(
        self,
        budget: MemoryBudget,
        held: Callable[[], Mapping[Part, int]],
        private_bytes: Callable[[], int | None],
        watch: MemoryWatch,
    ) -> None:
        self._budget = budget
        self._held = held
        self._private_bytes = private_bytes
        self._watch = watch

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per series."""
        bound = GaugeMetricFamily("reidstream_memory_limit_bytes", "The budget of memory.", labels=["part"])
        for line in self._budget.lines:
            bound.add_metric([line.part.value], line.bytes)
        yield bound
        counted, private = self._held(), self._private_bytes() or 0
        held = GaugeMetricFamily("reidstream_memory_bytes", "Memory that is held.", labels=["part"])
        for part, count in counted.items():
            held.add_metric([part.value], count)
        base = self._budget.bytes_of(Part.BASE)
        held.add_metric([Part.BASE.value], base)
        held.add_metric([UNCOUNTED], max(0, private - base - sum(counted.values())))
        yield held
        yield GaugeMetricFamily("reidstream_private_memory_bytes", "Private memory of the process.", value=private)
        yield GaugeMetricFamily(
            "reidstream_private_memory_limit_bytes", "The whole budget.", value=self._budget.total_bytes
        )
        yield CounterMetricFamily(
            "reidstream_connections_ended", "Connections ended for what they held.", value=self._watch.ended_connections
        )
