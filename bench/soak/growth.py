"""Whether memory grows: the slope through samples of it.

Why a slope: memory changes in steps, so the difference of two samples is mostly noise; one odd sample hardly moves the
line through all of them. Trap: what a process allocates once (pools, buffers, code) looks like growth, so samples begin
after a warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import linear_regression

PER_FRAMES = 10_000


def slope(frames: Sequence[int], sizes: Sequence[int]) -> float:
    """Bytes per 10,000 frames by least squares. At least two samples, at different numbers of frames."""
    return linear_regression(frames, sizes).slope * PER_FRAMES


def difference(frames: Sequence[int], sizes: Sequence[int]) -> float:
    """Bytes per 10,000 frames from the first sample to the last one."""
    return (sizes[-1] - sizes[0]) / (frames[-1] - frames[0]) * PER_FRAMES
