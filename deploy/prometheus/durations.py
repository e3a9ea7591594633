"""Windows and waits of rules, as PromQL writes them.

Why a `Timing`: tests run the same rules within seconds, so whatever is a time in a rule passes through one function.
Names of recorded series keep the windows of production (`...:ratio_rate5m`), so that alerts and dashboards find them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from typing_extensions import override

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A time in whole milliseconds. `str` is PromQL's way, in the largest unit that fits."""

    ms: int

    @override
    def __str__(self) -> str:
        unit, size = next((unit, size) for unit, size in _UNITS if self.ms % size == 0)
        return f"{self.ms // size}{unit}"


Timing: TypeAlias = Callable[[Duration], Duration]


def as_written(duration: Duration) -> Duration:
    """The timing of production."""
    return duration


def minutes(count: int) -> Duration:
    """So many minutes."""
    return Duration(count * 60_000)


def hours(count: int) -> Duration:
    """So many hours."""
    return minutes(count * 60)


def days(count: int) -> Duration:
    """So many days."""
    return hours(count * 24)
