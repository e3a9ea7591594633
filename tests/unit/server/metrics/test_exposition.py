"""The page of all series: frames do not wait while it is made."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from reidstream_server.metrics.exposition import TextFormat, page

FAMILIES = 5


@pytest.fixture
def registry() -> CollectorRegistry:
    """Some families, each with one series."""
    made = CollectorRegistry()
    for number in range(FAMILIES):
        Gauge(f"family_{number}", "One of them.", registry=made).set(number)
    return made


@pytest.mark.parametrize("form", TextFormat)
def test_the_interpreter_is_given_away_after_each_family(
    form: TextFormat, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that computes would keep it for 5 ms otherwise."""
    given: list[float] = []
    monkeypatch.setattr(time, "sleep", given.append)
    page(registry, form)
    assert given == [0] * FAMILIES


def test_the_page_is_what_the_library_writes(registry: CollectorRegistry) -> None:
    """Byte by byte."""
    assert page(registry, TextFormat.PLAIN) == generate_latest(registry)
