"""How long calls took, under the names that OpenTelemetry's conventions give them (`--rpc-metrics`).

Why beside our own series: dashboards and alerts that know gRPC servers in general ask for these names. They are those
of version 1.45.0, in which the conventions for RPC are stable, written as Prometheus has them: points become
underscores, and the unit is part of the name.

Trap: a histogram for each pair of method and status would be three thousand series, of which nearly all stay at 0. So a
pair has its series from its first call on, and those that ended well from the beginning. Both sets are closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Histogram

from reidstream_server.errors import SERVER_FAULTS

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Those of the conventions."""

_OTHER: Final = "_OTHER"
_SYSTEM: Final = "grpc"
_LABELS: Final = ("rpc_system_name", "rpc_method", "rpc_status_code", "error_type")


class RpcMetrics:
    """The histogram. Event loop only."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "rpc_server_call_duration_seconds",
            "Duration of calls, of streams from their beginning to their end.",
            _LABELS,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._of: dict[tuple[str, str], Histogram] = {}

    def offered(self, methods: Sequence[str]) -> None:
        """These are all methods that there are."""
        for method in methods:
            self._series(method, "OK")

    def took(self, method: str | None, status: str, seconds: float) -> None:
        """A call is over. `method`: None if it is none of those that are offered."""
        self._series(_OTHER if method is None else method, status).observe(seconds)

    def _series(self, method: str, status: str) -> Histogram:
        found = self._of.get((method, status))
        if found is None:
            error = status if status in SERVER_FAULTS else ""
            found = self._of[method, status] = self._seconds.labels(_SYSTEM, method, status, error)
        return found
