"""What a check on a GPU found, as a line, a Markdown page and JSON.

Trap: only equality and memory can fail a check. A speed may have a target, and the page says whether it was met, but
speeds differ from machine to machine, so a missed target is not a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum


class Outcome(Enum):
    """How a check ended. MEASURED: a speed without a target; MET and MISSED: a speed with one."""

    PASSED = "passed"
    FAILED = "failed"
    MEASURED = "measured"
    MET = "met"
    MISSED = "missed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`value`: what was found, or why nothing was. `target`: what it must be; empty for a speed without one."""

    name: str
    outcome: Outcome
    value: str
    target: str = ""


def judged(name: str, value: object, target: str, *, passed: bool) -> Check:
    """A check that passes or fails."""
    return Check(name=name, outcome=Outcome.PASSED if passed else Outcome.FAILED, value=str(value), target=target)


def measured(name: str, value: str) -> Check:
    """A speed without a target."""
    return Check(name=name, outcome=Outcome.MEASURED, value=value)


def ratio(name: str, found: float, least: float, how: str) -> Check:
    """A speed divided by another one of the same run. `how`: both, in words."""
    outcome = Outcome.MET if found >= least else Outcome.MISSED
    return Check(name=name, outcome=outcome, value=f"{found:.2f} ({how})", target=f">= {least}")


def markdown(about: Mapping[str, str], checks: Sequence[Check]) -> str:
    """The page."""
    rows = [f"| {name} | {value} |" for name, value in about.items()]
    found = [f"| {check.name} | {check.outcome.value} | {check.value} | {check.target} |" for check in checks]
    return "\n".join(
        [
            "# On a GPU\n\nWritten by `make gpu-check`; it holds for this commit on this device.\n",
            *("| what | |", "|---|---|", *rows, ""),
            *("| check | outcome | found | wanted |", "|---|---|---|---|", *found, ""),
        ]
    )


def as_json(about: Mapping[str, str], checks: Sequence[Check]) -> dict[str, object]:
    """The same, for programs."""
    return {
        "about": dict(about),
        "checks": [{**asdict(check), "outcome": check.outcome.value} for check in checks],
    }
