"""What Prometheus answered as series with names, axes that fit them, and figures as a person writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_A_LITTLE = 1.05
"""What is above the end of an axis by less than that is drawn at its end: a share of 1.01 is 1."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a panel: when, and how much. What is no number is left out."""

    name: str
    points: list[tuple[float, float]]

    @property
    def most(self) -> float:
        """The highest value."""
        return max((value for _, value in self.points), default=0.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """From 0 to `top`."""

    top: float
    ticks: list[float]


def series_of(panel: dict[str, Any], answers: Sequence[Any]) -> list[Series]:
    """All lines of a panel, in the order of its queries, with the names that its legends say."""
    return [one for target, answer in zip(panel["targets"], answers, strict=True) for one in _named(target, answer)]


def _named(target: dict[str, Any], answer: Any) -> Iterator[Series]:
    for found in answer:
        name = target["legendFormat"]
        for label in re.findall(r"\{\{(\w+)\}\}", name):
            name = name.replace(f"{{{{{label}}}}}", found["metric"].get(label, ""))
        points = ((float(at_s), float(value)) for at_s, value in found["values"])
        yield Series(name, [(at_s, value) for at_s, value in points if math.isfinite(value)])


def axis(panel: dict[str, Any], shown: Sequence[Series], *, stacked: bool) -> Axis:
    """One with three to five ticks, at round figures; it reaches as far as the panel's file asks."""
    if stacked:
        heights: dict[float, float] = {}
        for one in shown:
            if one.name != "limit":
                for at_s, value in one.points:
                    heights[at_s] = heights.get(at_s, 0.0) + value
        most = max([*heights.values(), *(one.most for one in shown if one.name == "limit")], default=0.0)
    else:
        most = max((one.most for one in shown), default=0.0)
    asked = panel["fieldConfig"]["defaults"]["custom"].get("axisSoftMax", 0.0)
    most = (asked if most < asked * _A_LITTLE else most) or 1.0
    rough = most / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    count = math.ceil(most / step - 1e-9)
    return Axis(count * step, [place * step for place in range(count + 1)])


def unit_of(panel: dict[str, Any]) -> str:
    """In words, where the figures do not say it."""
    unit = str(panel["fieldConfig"]["defaults"]["unit"])
    return unit.removeprefix("suffix:").strip() if unit.startswith("suffix:") else ""


def number(panel: dict[str, Any], value: float, *, short: bool = False) -> str:
    """As the unit of the panel wants it; `short`: beside an axis."""
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    if unit == "percentunit":
        digits = f".{defaults['decimals']:g}f" if not short and "decimals" in defaults else ".3g"
        return f"{value * 100:{digits}} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if value >= 1000:
        return f"{value / 1000:.3g} k"
    return f"{value:.3g}"
