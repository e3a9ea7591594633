"""The outcomes as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from .measuring.footprints import Look
from .measuring.run import Outcome
from .measuring.verdicts import failures

_HEAD = (
    f"{'attack':18} {'frames':>9} {'p50 ms':>13} {'p99 ms':>13} {'worst':>7} {'visitors':>9} "
    f"{'MiB before':>10} {'peak':>6} {'bound':>6} {'after':>6} {'fds':>9} {'threads':>9} {'exit':>5}"
)


def header() -> str:
    """The first line of the table."""
    return _HEAD


def row(outcome: Outcome, *, control: bool) -> str:
    """One line for an attack, and one for each verdict that did not hold."""
    calm, under = outcome.camera["calm"], outcome.camera["attack"]
    visits, before, after = outcome.visitors["attack"], outcome.before, outcome.after
    line = (
        f"{outcome.attack:18} {under.answered:>4}/{under.sent:<4} {_two(calm.p50_ms, under.p50_ms):>13} "
        f"{_two(calm.p99_ms, under.p99_ms):>13} {_ms(under.worst_ms):>7} {visits.answered:>4}/{visits.sent:<4} "
        f"{_mib(before.private_bytes if before else None):>10} {_mib(outcome.private_peak_bytes):>6} "
        f"{_mib(outcome.published_bytes):>6} {_mib(after.private_bytes if after else None):>6} "
        f"{_change(before, after, lambda look: look.descriptors):>9} "
        f"{_change(before, after, lambda look: look.threads):>9} {outcome.exit_code!s:>5}"
    )
    mark = "  noted: " if control else "  FAILED: "
    return "\n".join([line, *(mark + text for text in failures(outcome))])


def as_json(outcome: Outcome) -> Mapping[str, object]:
    """Everything."""
    return dataclasses.asdict(outcome) | {"failures": list(failures(outcome))}


def summary(outcomes: Sequence[Outcome], controls: frozenset[str]) -> str:
    """How many held."""
    attacks = [one for one in outcomes if one.attack not in controls]
    held = sum(not failures(one) for one in attacks)
    return f"{held} of {len(attacks)} attacks did no harm"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _two(calm: float | None, under: float | None) -> str:
    return f"{_ms(calm)} > {_ms(under)}"


def _mib(value: int | None) -> str:
    return "-" if value is None else str(value >> 20)


def _change(before: Look | None, after: Look | None, what: Callable[[Look], int]) -> str:
    return f"{'-' if before is None else what(before)} > {'-' if after is None else what(after)}"
