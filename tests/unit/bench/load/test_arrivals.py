"""When the cameras of the load generator send."""

from __future__ import annotations

import numpy as np

from bench.load.arrivals import Cameras


def test_the_same_seed_sends_at_the_same_moments() -> None:
    """Two runs can be compared only if they saw the same load."""
    one, same, other = (Cameras(count=2, frames_per_s=30, seed=seed).arrivals(1, 5) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_cameras_keep_their_rate_and_have_phases_of_their_own() -> None:
    """Without jitter frames come exactly a period apart, and two cameras do not send at the same time."""
    cameras = Cameras(count=2, frames_per_s=20, jitter=0)
    first, second = cameras.arrivals(0, 10), cameras.arrivals(1, 10)
    np.testing.assert_allclose(np.diff(first), 1 / 20)
    assert len(first) == len(second) == 200
    assert abs(first[0] - second[0]) > 1e-4


def test_jitter_moves_frames_about_their_tick_and_does_not_add_up() -> None:
    """Every frame stays within its share of the period from its tick, also after many."""
    period, jitter = 1 / 25, 0.2
    even = Cameras(count=1, frames_per_s=25, jitter=0, seed=5).arrivals(0, 40)
    moved = Cameras(count=1, frames_per_s=25, jitter=jitter, seed=5).arrivals(0, 40)
    nearest = np.abs(moved[:, None] - even[None, :]).min(axis=1)
    assert nearest[1:-1].max() <= jitter * period + 1e-9
    assert nearest.max() > 0.1 * jitter * period
    assert np.all(np.diff(moved) > 0)
    assert moved[0] >= 0
    assert moved[-1] < 40
