"""How fairly the capacity is shared.

Trap: if 31 of 32 cameras get the same and one gets nothing, the index is still 0.97. So the worst camera is always
reported as well.
"""

from __future__ import annotations

from collections.abc import Sequence


def jain(shares: Sequence[float]) -> float:
    """Jain's index, (sum x)^2 / (n sum x^2): 1 if all are equal (also if all are 0), 1/n if one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def kept(now: Sequence[float], before: Sequence[float]) -> tuple[float, float]:
    """`now` over `before`: of all together, and of the one that lost most. No rate in `before` may be 0."""
    return sum(now) / sum(before), min(a / b for a, b in zip(now, before, strict=True))
