"""A ratio of many rounds, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from bench.observing.pairs import of_medians


def test_what_all_rounds_share_does_not_count() -> None:
    """A round that others disturb is slow on both sides; the ratio is taken within it."""
    disturbed = np.random.default_rng(1).uniform(1, 10, 50)
    ratio = of_medians((1.03 * disturbed).tolist(), disturbed.tolist())
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.03, 1.03, 1.03))
    assert ratio.rounds == 50


def test_the_interval_is_as_wide_as_the_rounds_differ() -> None:
    """It holds the truth, and more rounds make it narrower."""
    drawn = np.random.default_rng(2)
    few, many = (of_medians(drawn.normal(1.0, 0.05, n).tolist(), n * [1.0]) for n in (20, 500))
    for ratio in (few, many):
        assert ratio.low < 1.0 < ratio.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert str(many) == f"{many.value:.4f} ({many.low:.4f} to {many.high:.4f})"
