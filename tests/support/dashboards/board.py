"""A dashboard's file as Grafana reads it: its panels, their queries and the marks, with the variables replaced.

Trap: Grafana writes several chosen servers as a regular expression, and escapes their names for it and once more for
PromQL's strings. A query that is right with `.+` may be wrong with two addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"
ALL = ".+"
"""What the dashboards say for All."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is chosen at the top of a dashboard, and how far Prometheus looks back."""

    jobs: Sequence[str] = ()
    instances: Sequence[str] = ()
    rate_interval: str
    range: str

    def into(self, text: str) -> str:
        """The text without variables."""
        words = {
            "__rate_interval": self.rate_interval,
            "__range": self.range,
            "job": _several(self.jobs),
            "instance": _several(self.instances),
        }
        return re.sub(r"\$(\w+)", lambda found: words[found[1]], text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query of a panel, or of a mark. `panel`: its title."""

    board: str
    panel: str
    expr: str
    legend: str

    def __str__(self) -> str:
        return f"{self.board} / {self.panel}: {self.expr}"


@dataclass(frozen=True)
class Board:
    """One file."""

    path: Path

    @cached_property
    def document(self) -> dict[str, Any]:
        """All of it."""
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    @property
    def uid(self) -> str:
        """Its name in addresses."""
        return str(self.document["uid"])

    @property
    def panels(self) -> list[dict[str, Any]]:
        """Without the rows that stand between them."""
        return [panel for panel in self.document["panels"] if panel["type"] != "row"]

    def panel(self, title: str) -> dict[str, Any]:
        """The one that asks this."""
        (found,) = (panel for panel in self.panels if panel["title"] == title)
        return found

    def asked(self) -> Iterator[Asked]:
        """Every query, those of the marks last."""
        for panel in self.panels:
            for target in panel["targets"]:
                yield self._one(panel["title"], target["expr"], target["legendFormat"])
        for mark in self.document["annotations"]["list"]:
            yield self._one(mark["name"], mark["expr"], mark["textFormat"])

    def _one(self, panel: str, expr: str, legend: str) -> Asked:
        return Asked(board=self.uid, panel=panel, expr=expr, legend=legend)


def boards() -> list[Board]:
    """All that are in the folder."""
    return [Board(path) for path in sorted(DASHBOARDS.glob("*.json"))]


def _several(values: Sequence[str]) -> str:
    """As Grafana writes them into a regular expression in a string of PromQL."""
    if not values:
        return ALL
    escaped = [re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
