"""Whether what is scarce is shared fairly.

Trap: an index near 1 hides one camera that gets nothing among many that get the same (with 32 it is 0.97), so the worst
is always told as well.
"""

from __future__ import annotations

from collections.abc import Sequence


def jain(shares: Sequence[float]) -> float:
    """Jain's index, (sum x)^2 / (n sum x^2): 1 when all have the same, 1/n when one has everything; 1 for nothing."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def kept(now: Sequence[float], before: Sequence[float]) -> tuple[float, float]:
    """What is left of the rates: of all together, and of the one that has lost most. Those before must not be 0."""
    return sum(now) / sum(before), min(a / b for a, b in zip(now, before, strict=True))
