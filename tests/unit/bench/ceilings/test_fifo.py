"""The simulated first-in-first-out server, on arrivals worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.ceilings.fifo import drawn_service, fifo_delays


def test_frames_wait_for_those_before_them() -> None:
    """Arrivals at 0, 1, 2 and 10 with 3 seconds each: the second waits 2, the third 4, the last nothing."""
    assert fifo_delays([0, 1, 2, 10], [3, 3, 3, 3]).tolist() == [3, 5, 7, 3]


def test_two_workers_take_frames_as_they_become_free() -> None:
    """A long first frame holds one worker; the others go through the second one after the other."""
    assert fifo_delays([0, 0, 1, 2], [10, 2, 2, 1], workers=2).tolist() == [10, 2, 3, 3]


def test_a_frame_without_a_service_time_is_refused() -> None:
    """Arrivals and service times belong together one by one."""
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        fifo_delays([0, 1], [1])


def test_service_times_are_drawn_from_the_measured_ones_and_by_seed_alone() -> None:
    """No invented times, and the same ones for the same seed."""
    measured = [0.25, 0.5, 4.0]
    drawn = drawn_service(measured, 50, seed=3)
    assert set(drawn.tolist()) == set(measured)
    assert np.array_equal(drawn, drawn_service(measured, 50, seed=3))
    assert not np.array_equal(drawn, drawn_service(measured, 50, seed=4))
