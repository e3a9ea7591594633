"""Results as people read them: a table for each scenario, and two runs side by side.

Trap: where the load generator itself is the limit, the number says nothing of the server. Such rows are marked.
"""

from __future__ import annotations

from collections.abc import Sequence

from .results import Figures, Row, Run

_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("frames_per_s", "frames/s", 1),
    ("frames_per_core", "/s free core", 1),
    ("crops_per_s", "crops/s", 0),
    ("p50_ms", "p50 ms", 2),
    ("p95_ms", "p95 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("cpu_s_per_1000", "CPU s/1000", 2),
    ("faults_per_frame", "faults/frame", 1),
    ("resident_mb", "MB", 0),
    ("load_cpu", "load CPU", 2),
    ("others_cpu", "others", 2),
    ("late_p99_ms", "late ms", 1),
)
_RATIO_DIGITS = 2
BUSY_LOAD = 0.9
_MARK = "*"


def table(run: Run) -> str:
    """The whole run."""
    parts = ["  ".join(f"{name}={value}" for name, value in run.settings.items())]
    marked = False
    for scenario in run.scenarios():
        lines = [_line(row.subject.value + _mark(row), row.figures()) for row in run.rows if row.scenario == scenario]
        lines += [_line(name, figures, _RATIO_DIGITS) for name, figures in run.ratios(scenario).items()]
        parts.append(_aligned([_heading(scenario), *lines]))
        marked |= any(_mark(row) for row in run.rows if row.scenario == scenario)
    if marked:
        parts.append(f"{_MARK} the load generator's own core was busy: the real figure is higher")
    return "\n\n".join(parts)


def comparison(first: Run, second: Run) -> str:
    """The rows that both have: the first run's medians, the second's, and second / first."""
    parts: list[str] = []
    for scenario in first.scenarios():
        lines: list[list[str]] = []
        for row in first.rows:
            other = second.find(row.scenario, row.subject)
            if row.scenario == scenario and other is not None:
                lines += _pair(row.subject.value, row.figures(), other.figures())
        others = second.ratios(scenario)
        for name, figures in first.ratios(scenario).items():
            if name in others:
                lines += _pair(name, figures, others[name], _RATIO_DIGITS)
        if lines:
            parts.append(_aligned([_heading(scenario), *lines]))
    return "\n\n".join(parts) or "the two runs have nothing in common"


def _pair(name: str, first: Figures, second: Figures, digits: int | None = None) -> list[list[str]]:
    quotient = Figures(
        **{
            key: getattr(second, key) / getattr(first, key)
            for key, _, _ in _COLUMNS
            if getattr(first, key) and getattr(second, key) is not None
        }
    )
    return [
        _line(f"A {name}", first, digits),
        _line(f"B {name}", second, digits),
        _line("  B / A", quotient, _RATIO_DIGITS),
    ]


def _mark(row: Row) -> str:
    load = row.figures().load_cpu
    return _MARK if load is not None and load > BUSY_LOAD else ""


def _heading(scenario: str) -> list[str]:
    return [f"[{scenario}]", *(heading for _, heading, _ in _COLUMNS)]


def _line(name: str, figures: Figures, digits: int | None = None) -> list[str]:
    values = ((getattr(figures, key), own if digits is None else digits) for key, _, own in _COLUMNS)
    return [name, *("" if value is None else f"{value:.{places}f}" for value, places in values)]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns by width; those without a value are left out."""
    kept = [index for index in range(len(lines[0])) if any(line[index] for line in lines[1:])]
    widths = [max(len(line[index]) for line in lines) for index in kept]
    return "\n".join(
        "  ".join(
            line[index].ljust(width) if index == 0 else line[index].rjust(width)
            for index, width in zip(kept, widths, strict=True)
        ).rstrip()
        for line in lines
    )
