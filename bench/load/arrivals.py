"""When cameras send: the arrival times of a set of cameras, by rate, phase and jitter.

They are drawn before anything is sent: server and simulated queue get the same arrivals, and a slow server does not
slow down its own load. Trap: jitter moves a frame around its own tick; it does not add up over time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Seconds: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cameras:
    """`count` cameras of one rate, each with a phase of its own, drawn from `seed`.

    `jitter`: half the width of the uniform jitter, as a share of the period, 0 to 0.5.
    """

    count: int
    frames_per_s: float
    jitter: float = 0.1
    seed: int = 0

    def arrivals(self, camera: int, seconds: float) -> Seconds:
        """When this camera sends: float64 (n,), rising, in [0, seconds). The same fields give the same times."""
        random = np.random.default_rng((self.seed, camera))
        period = 1 / self.frames_per_s
        phase = random.uniform(0, period)
        ticks = np.arange(-1, int(seconds / period) + 2)
        times = phase + period * (ticks + random.uniform(-self.jitter, self.jitter, len(ticks)))
        return np.asarray(times[(times >= 0) & (times < seconds)], np.float64)
