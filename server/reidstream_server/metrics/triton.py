"""What models did, under the names that Triton's metrics have (`--triton-metrics`).

Why beside our own series: dashboards and alerts that were made for a Triton server ask for these names.

Trap: they end in no `_total`, so OpenMetrics does not let them be counters, and a page has no two kinds. They are of no
declared type, which `rate()` does not mind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import UnknownMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

_NS_A_US = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonFigures:
    """Of one model, so far. Requests are frames, durations are of those that were answered."""

    success: int
    failure: int
    inferences: int
    executions: int
    request_ns: int
    queue_ns: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


_FAMILIES: Sequence[tuple[str, str, Callable[[TritonFigures], int]]] = (
    ("request_success", "Requests that were answered.", lambda of: of.success),
    ("request_failure", "Requests that got an error.", lambda of: of.failure),
    ("count", "Crops that were embedded.", lambda of: of.inferences),
    ("exec_count", "Batches.", lambda of: of.executions),
    ("request_duration_us", "Time of requests.", lambda of: of.request_ns // _NS_A_US),
    ("queue_duration_us", "Time that requests waited.", lambda of: of.queue_ns // _NS_A_US),
    ("compute_input_duration_us", "Time of decoding.", lambda of: of.compute_input_ns // _NS_A_US),
    ("compute_infer_duration_us", "Time of inference.", lambda of: of.compute_infer_ns // _NS_A_US),
    ("compute_output_duration_us", "Time of answering.", lambda of: of.compute_output_ns // _NS_A_US),
)


class TritonCollector(Collector):
    """Yields what `figures` tells, by the model's name. Any thread, if `figures` may be called in any. `version`: of
    every model.
    """

    def __init__(self, figures: Callable[[], Mapping[str, TritonFigures]], version: str) -> None:
        self._figures = figures
        self._version = version

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per name of Triton's."""
        models = self._figures()
        for name, text, value in _FAMILIES:
            family = UnknownMetricFamily(f"nv_inference_{name}", text, labels=["model", "version"])
            for model, figures in models.items():
                family.add_metric([model, self._version], value(figures))
            yield family
