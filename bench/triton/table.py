"""The rows of a run as text, and how busy the machine was with others."""

from __future__ import annotations

from collections.abc import Sequence

from .runs import Row


def table(rows: Sequence[Row], others: float) -> str:
    """`others`: the share of a core that other processes used meanwhile."""
    lines = [f"{'':22}{'at once':>8}{'crops/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms/crop':>13}"]
    for row in rows:
        figures = f"{row.crops_per_s:10.1f}{row.p50_ms:9.1f}{row.p99_ms:9.1f}{row.cpu_ms:13.3f}"
        lines.append(f"{row.way:22}{row.concurrency:8}{figures}")
    return "\n".join([*lines, f"others: {others:.2f} of a core"])
