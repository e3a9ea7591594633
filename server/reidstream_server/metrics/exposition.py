"""The page of all series, in the two formats that scrapers read.

Trap: for OpenMetrics, prometheus_client writes names letter by letter, so that old scrapers can read them, which takes
half as long again. All our names are plain, so it is told to leave them alone: the page is the same, byte by byte.

Another one: a thread that computes keeps Python's interpreter for 5 ms, while frames wait. So the interpreter is given
away after each family, which takes a twentieth of a millisecond.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8, CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector
from typing_extensions import override


class TextFormat(Enum):
    """By content type. The first is for whoever does not say what it reads; only OpenMetrics has exemplars."""

    PLAIN = CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = CONTENT_TYPE_LATEST


def page(registry: Collector, form: TextFormat) -> bytes:
    """Every series as it is now. Any thread; it waits for what collectors wait for."""
    match form:
        case TextFormat.PLAIN:
            return plain(_Courteous(registry))
        case TextFormat.OPENMETRICS:
            text: bytes = openmetrics(_Courteous(registry), escaping=ALLOWUTF8, version="1.0.0")  # type: ignore[no-untyped-call]
            return text


class _Courteous(Collector):
    """The same families; before each, every thread that waits for the interpreter has a turn."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    @override
    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            yield family
            time.sleep(0)
