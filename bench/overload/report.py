"""What cameras got under overload, as figures and as a table, and which targets were missed.

Trap: a frame's age is measured at three moments. The latency budget is about the first: when its inference starts. The
answer is composed a batch or two later, and reaches the camera after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .run import (
    BOXES,
    BUDGET_MS,
    CAMERAS,
    LOAD,
    WINDOW,
    Greed,
    Overload,
    Stretch,
    percentile_ms,
)

_NAME_WIDTH, _LEAST_WIDTH = 25, 6
_LEAST_JAIN, _LEAST_OF_PEAK, _LEAST_KEPT = 0.98, 0.97, 0.95
_AGES = (("started_s", "start"), ("answered_s", "answer"), ("delays_s", "camera"))


def figures(run: Overload, stretch: Stretch) -> dict[str, Any]:
    """One stretch, by name."""
    rates = stretch.rates()
    frames = sum((got.frames for got in stretch.got), Counter())
    others = stretch.got if stretch.greed is Greed.NONE else stretch.got[1:]
    found: dict[str, Any] = {
        "policy": stretch.policy.name.lower(),
        "cameras": stretch.greed.value,
        "offered_boxes_per_s": stretch.offered,
        "boxes_per_s": sum(rates),
        "peak": run.peaks[stretch.policy],
        "of_peak": sum(rates) / run.peaks[stretch.policy],
        "jain": stretch.fairness(),
        "least": min(rates),
        "most": max(rates),
        "greedy": None if stretch.greed is Greed.NONE else rates[0],
        "late_p99_ms": percentile_ms([late for got in others for late in got.late_s], 99),
        "frames": dict(frames),
    }
    for name, shown in _AGES:
        ages = [age for got in others for age in getattr(got, name)]
        found |= {f"{shown}_p50_ms": percentile_ms(ages, 50), f"{shown}_p99_ms": percentile_ms(ages, 99)}
    if stretch.greed is not Greed.NONE:
        found["others_kept"], found["worst_kept"] = stretch.others_kept(run.equal(stretch.policy))
    return found


def misses(stretches: Sequence[Mapping[str, Any]]) -> list[str]:
    """The targets that were missed, in words."""
    found: list[str] = []
    for got in stretches:
        where = f"{got['policy']}, {got['cameras']}"
        if got["answer_p99_ms"] > BUDGET_MS:
            found.append(f"{where}: p99 age at the answer is {got['answer_p99_ms']:.0f} ms, the budget {BUDGET_MS}")
        if got["of_peak"] < _LEAST_OF_PEAK:
            found.append(f"{where}: {got['of_peak']:.3f} of the peak are embedded, less than {_LEAST_OF_PEAK}")
        if got["jain"] < _LEAST_JAIN:
            found.append(f"{where}: Jain's index is {got['jain']:.4f}, less than {_LEAST_JAIN}")
        if got.get("others_kept", 1.0) < _LEAST_KEPT:
            found.append(f"{where}: the others have {got['others_kept']:.3f} of what they had, less than {_LEAST_KEPT}")
    return found


_COLUMNS = (
    ("peak", "peak", ".1f"),
    ("boxes_per_s", "boxes/s", ".1f"),
    ("of_peak", "of peak", ".3f"),
    ("jain", "Jain", ".4f"),
    ("least", "least", ".2f"),
    ("most", "most", ".2f"),
    ("greedy", "greedy", ".2f"),
    ("others_kept", "others kept", ".3f"),
    ("worst_kept", "worst kept", ".3f"),
    ("start_p99_ms", "start p99", ".0f"),
    ("answer_p50_ms", "answer p50", ".0f"),
    ("answer_p99_ms", "p99", ".0f"),
    ("camera_p99_ms", "camera p99", ".0f"),
    ("late_p99_ms", "late ms", ".1f"),
)


def table(stretches: Sequence[Mapping[str, Any]]) -> str:
    """The figures of all stretches, a block for each policy."""
    terms = f"{BOXES} boxes a frame, window {WINDOW} frames, budget {BUDGET_MS} ms"
    lines = [f"{CAMERAS} cameras send {LOAD} times the peak, {terms}"]
    policy = ""
    for got in stretches:
        if got["policy"] != policy:
            policy = got["policy"]
            lines += ["", _row(f"[{policy}]", [title for _, title, _ in _COLUMNS])]
        values = [(got.get(name), how) for name, _, how in _COLUMNS]
        lines.append(_row(got["cameras"], ["" if value is None else format(value, how) for value, how in values]))
        lines.append("    " + ", ".join(f"{number:,} {name}" for name, number in sorted(got["frames"].items())))
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str]) -> str:
    widths = [max(len(title), _LEAST_WIDTH) for _, title, _ in _COLUMNS]
    shown = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return f"{name:<{_NAME_WIDTH}}  {shown}".rstrip()
