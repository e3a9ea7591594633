"""What a run of the benchmark found: figures, their medians and ratios, and their JSON.

Trap: absolute figures change with the machine and its other users. So a ratio is taken within one repeat, where both
sides met the same machine, and then the median of the ratios. The names in here are in people's files: a renamed figure
or subject makes older files unreadable for `compare`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import median


class Subject(Enum):
    """What was measured. The values are what people and files call it."""

    CEILING = "ceiling"
    ECHO = "echo"
    SERVER = "server"
    HALF_LOAD = "server, half load"
    FIFO = "simulated fifo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One measurement; None where a figure has no meaning.

    `frames_per_core`: frames for each second of core time that other processes left on the server's cores, as if it
    were alone there. `load_cpu`, `others_cpu`: what the load generator, and other processes on the server's cores,
    used, as shares of a core. `late_p99_ms`: how late the load generator sent.
    """

    frames_per_s: float | None = None
    frames_per_core: float | None = None
    crops_per_s: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cpu_s_per_1000: float | None = None
    faults_per_frame: float | None = None
    resident_mb: float | None = None
    load_cpu: float | None = None
    others_cpu: float | None = None
    late_p99_ms: float | None = None


NAMES: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Figures))
_WORK = ("frames_per_s", "frames_per_core", "crops_per_s", "cpu_s_per_1000", "faults_per_frame", "resident_mb")
_DELAYS = ("p50_ms", "p95_ms", "p99_ms")
RATIOS: Mapping[tuple[Subject, Subject], tuple[str, ...]] = {
    (Subject.SERVER, Subject.CEILING): _WORK,
    (Subject.SERVER, Subject.ECHO): _WORK,
    (Subject.HALF_LOAD, Subject.FIFO): _DELAYS,
}
"""What is divided by what, and which figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A subject in a scenario; one item for each repeat."""

    scenario: str
    subject: Subject
    repeats: tuple[Figures, ...]

    def figures(self) -> Figures:
        """The medians."""
        return _medians([{name: getattr(one, name) for name in NAMES} for one in self.repeats])

    def over(self, base: Row, names: Sequence[str]) -> Figures:
        """The medians of this row's figures divided by those of `base`, repeat by repeat."""
        return _medians(
            [
                {name: _ratio(getattr(mine, name), getattr(its, name)) for name in names}
                for mine, its in zip(self.repeats, base.repeats, strict=True)
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole run: how it was made, and its rows in the order they were measured."""

    settings: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, scenario: str, subject: Subject) -> Row | None:
        """The row; None if it was not measured."""
        return next((row for row in self.rows if row.scenario == scenario and row.subject is subject), None)

    def ratios(self, scenario: str) -> dict[str, Figures]:
        """The ratios of a scenario whose both sides were measured, by name ("server / echo")."""
        found: dict[str, Figures] = {}
        for (over, under), names in RATIOS.items():
            row, base = self.find(scenario, over), self.find(scenario, under)
            if row is not None and base is not None:
                found[f"{over.value} / {under.value}"] = row.over(base, names)
        return found

    def scenarios(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(row.scenario for row in self.rows))

    def save(self, path: Path) -> None:
        """Write JSON. Medians and ratios are in it for other programs; `load_run` computes them again."""
        content = {
            "settings": self.settings,
            "rows": [
                {
                    "scenario": row.scenario,
                    "subject": row.subject.value,
                    "median": _known(row.figures()),
                    "repeats": [_known(figures) for figures in row.repeats],
                }
                for row in self.rows
            ],
            "ratios": {
                scenario: {name: _known(figures) for name, figures in self.ratios(scenario).items()}
                for scenario in self.scenarios()
            },
        }
        path.write_text(json.dumps(content, indent=1) + "\n")


def load_run(path: Path) -> Run:
    """Read what `Run.save` wrote. Raises OSError, and ValueError for any other file."""
    try:
        content = json.loads(path.read_text())
        rows = tuple(
            Row(
                scenario=row["scenario"],
                subject=Subject(row["subject"]),
                repeats=tuple(Figures(**figures) for figures in row["repeats"]),
            )
            for row in content["rows"]
        )
        return Run(settings=content["settings"], rows=rows)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by `python -m bench --output`: {error}") from error


def _known(figures: Figures) -> dict[str, float]:
    return {name: value for name in NAMES if (value := getattr(figures, name)) is not None}


def _medians(repeats: Sequence[Mapping[str, float | None]]) -> Figures:
    found: dict[str, float] = {}
    for name in repeats[0] if repeats else ():
        values = [value for one in repeats if (value := one[name]) is not None]
        if values:
            found[name] = median(values)
    return Figures(**found)


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None
