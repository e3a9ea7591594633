"""What a check has to say: one verdict, what was seen, and what to change.

Why the change is asked for by the functions below: a complaint without a next step is of no use to whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """From the best to the worst; NOT_LOOKED_AT says nothing either way."""

    NOT_LOOKED_AT = "not looked at"
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


_ORDER = tuple(Verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. `seen` and `change` are sentences. `figures`: the same numbers for programs, seconds end in `_s`."""

    check: str
    verdict: Verdict
    seen: str
    change: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def unseen(check: str, why: str) -> Finding:
    """Nobody looked."""
    return Finding(check=check, verdict=Verdict.NOT_LOOKED_AT, seen=why)


def ok(check: str, seen: str, **figures: float) -> Finding:
    """All is well there."""
    return Finding(check=check, verdict=Verdict.OK, seen=seen, figures=figures)


def warning(check: str, seen: str, change: str, **figures: float) -> Finding:
    """It works, and not well, or not for long."""
    return Finding(check=check, verdict=Verdict.WARNING, seen=seen, change=change, figures=figures)


def wrong(check: str, seen: str, change: str, **figures: float) -> Finding:
    """It does not work."""
    return Finding(check=check, verdict=Verdict.WRONG, seen=seen, change=change, figures=figures)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Of all of them."""
    return max((finding.verdict for finding in findings), key=_ORDER.index, default=Verdict.NOT_LOOKED_AT)
