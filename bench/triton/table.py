"""The medians of all repeats as text, with how far they differ, and how busy the machine was with others."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .runs import Row


def table(rows: Sequence[Row], others: float) -> str:
    """`rows`: of all repeats. `others`: the share of a core that other processes used meanwhile."""
    lines = [f"{'':22}{'at once':>8}{'crops/s':>10}{'from':>8}{'to':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms/crop':>13}"]
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.way, row.concurrency), []).append(row)
    for (way, concurrency), repeats in found.items():
        rates = [row.crops_per_s for row in repeats]
        p50, p99, cpu = (
            statistics.median(getattr(row, name) for row in repeats) for name in ("p50_ms", "p99_ms", "cpu_ms")
        )
        spread = f"{statistics.median(rates):10.1f}{min(rates):8.1f}{max(rates):8.1f}"
        lines.append(f"{way:22}{concurrency:8}{spread}{p50:9.1f}{p99:9.1f}{cpu:13.3f}")
    return "\n".join([*lines, f"others: {others:.2f} of a core"])
