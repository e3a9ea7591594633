"""Growth by samples."""

from __future__ import annotations

import pytest

from bench.soak.growth import difference, slope


def test_steady_growth_has_the_same_slope_and_difference() -> None:
    frames = list(range(0, 50_001, 2_500))
    sizes = [200_000_000 + 100 * count for count in frames]
    assert slope(frames, sizes) == pytest.approx(1_000_000)
    assert difference(frames, sizes) == pytest.approx(1_000_000)


def test_one_high_sample_at_the_end_moves_the_slope_less_than_the_difference() -> None:
    frames = list(range(0, 50_001, 2_500))
    sizes = [200_000_000] * 20 + [220_000_000]
    assert difference(frames, sizes) == pytest.approx(4_000_000)
    assert 0 < slope(frames, sizes) < 2_000_000


def test_frames_need_not_be_evenly_spaced() -> None:
    assert slope([0, 1_000, 10_000], [10, 11, 20]) == pytest.approx(10)
