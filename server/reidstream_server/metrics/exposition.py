"""The page of all series, in the two formats that scrapers read.

Trap: for OpenMetrics, prometheus_client writes names letter by letter, so that old scrapers can read them, which takes
half as long again. All our names are plain, so it is told to leave them alone: the page is the same, byte by byte.
"""

from __future__ import annotations

from enum import Enum

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.openmetrics.exposition import ALLOWUTF8, CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector


class TextFormat(Enum):
    """By content type. The first is for whoever does not say what it reads; only OpenMetrics has exemplars."""

    PLAIN = CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = CONTENT_TYPE_LATEST


def page(registry: Collector, form: TextFormat) -> bytes:
    """Every series as it is now. Any thread; it waits for what collectors wait for."""
    match form:
        case TextFormat.PLAIN:
            return plain(registry)
        case TextFormat.OPENMETRICS:
            text: bytes = openmetrics(registry, escaping=ALLOWUTF8, version="1.0.0")  # type: ignore[no-untyped-call]
            return text
