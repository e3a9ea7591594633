"""The rate that tells a rejected client when to come back."""

from __future__ import annotations

import pytest

from reidstream_server.core.statistics import ServiceRate

from .builders import MS, START_NS


def served(rate: ServiceRate, crops_per_second: int, seconds: int) -> None:
    """A batch every 100 ms."""
    for step in range(seconds * 10 + 1):
        rate.served(crops_per_second // 10, START_NS + step * 100 * MS)


@pytest.mark.parametrize(("crops", "milliseconds"), [(0, 10), (200, 200), (1_000_000, 5_000)])
def test_a_client_is_told_how_long_the_queue_takes(crops: int, milliseconds: int) -> None:
    """At the rate measured, but neither at once nor too late."""
    rate = ServiceRate()
    served(rate, 1_000, seconds=20)
    assert rate.milliseconds_for(crops) == pytest.approx(milliseconds, rel=0.1)


def test_before_anything_was_measured() -> None:
    """The shortest time: there is nothing to go by."""
    rate = ServiceRate()
    rate.served(10, START_NS)
    assert rate.milliseconds_for(1_000_000) == 10


def test_the_rate_follows_what_happens() -> None:
    """A slower engine is noticed."""
    rate = ServiceRate()
    served(rate, 1_000, seconds=5)
    before = rate.milliseconds_for(100)
    for step in range(1, 50):
        rate.served(10, START_NS + 5_000 * MS + step * 100 * MS)
    assert rate.milliseconds_for(100) > 5 * before
