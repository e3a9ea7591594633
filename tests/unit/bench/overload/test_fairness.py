"""Shares: how even they are, and what is left of them."""

from __future__ import annotations

import pytest

from bench.overload.fairness import jain, kept


@pytest.mark.parametrize(
    ("shares", "index"),
    [([5.0] * 7, 1.0), ([3.0, 0.0, 0.0, 0.0], 0.25), ([1.0, 3.0], 0.8), ([0.0, 0.0], 1.0), ([4.0], 1.0)],
)
def test_the_index_is_one_for_equal_shares_and_one_nth_for_a_single_one(shares: list[float], index: float) -> None:
    assert jain(shares) == pytest.approx(index)
    assert jain([9 * share for share in shares]) == pytest.approx(index)


def test_what_is_kept_is_told_of_all_and_of_the_worst() -> None:
    """One that loses half is not hidden by the others' gains."""
    together, worst = kept([5.0, 12.0, 13.0], [10.0, 10.0, 10.0])
    assert together == pytest.approx(1.0)
    assert worst == pytest.approx(0.5)
