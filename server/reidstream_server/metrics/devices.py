"""The memory that the stager uses on each GPU, read when Prometheus scrapes. On a CPU there is nothing to read.

Why beside `reidstream_staged_bytes`: that gauge counts the bytes for which frames were admitted. These count what the
pools hold, with idle blocks and this machine's pinned memory. No series has the networks' memory: it is TensorRT's.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from reidstream_engines.protocol import Stager


class DeviceCollector(Collector):
    """Yields samples for each device. Any thread."""

    def __init__(self, stager: Stager) -> None:
        self._stager = stager

    @override
    def collect(self) -> Iterable[Metric]:
        """One family per series, if there is a device."""
        devices = self._stager.devices()
        if not devices:
            return
        used = GaugeMetricFamily(
            "reidstream_device_frame_bytes", "Memory of frames.", labels=["device", "memory", "state"]
        )
        bound = GaugeMetricFamily(
            "reidstream_device_frame_bytes_limit", "The limit of the memory of frames.", labels=["device", "memory"]
        )
        decodes = CounterMetricFamily(
            "reidstream_device_decodes", "JPEGs that were given to the device to decode.", labels=["device", "outcome"]
        )
        for item in devices:
            for memory, pool in (("device", item.memory), ("pinned", item.pinned)):
                used.add_metric([item.device, memory, "in_use"], pool.in_use)
                used.add_metric([item.device, memory, "idle"], pool.idle)
                bound.add_metric([item.device, memory], pool.bound)
            decodes.add_metric([item.device, "decoded"], item.decoded)
            decodes.add_metric([item.device, "declined"], item.declined)
        yield used
        yield bound
        yield decodes
