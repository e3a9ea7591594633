"""The simulated server that takes frames first in, first out: what the delay would be if serving itself cost nothing.

Why: at half load most of a frame's delay is waiting for other frames, which no server can avoid. What a real server
takes beyond this is its own. Trap: the service times are those of the in-process ceiling, which knows no network, so
the comparison charges the real server with its transport as well.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from .cameras import Seconds


def fifo_delays(arrivals: Sequence[float] | Seconds, service: Iterable[float], workers: int = 1) -> Seconds:
    """The delay of each frame from arrival to end of service, float64 (n,), seconds, in the order of `arrivals`.

    `arrivals` must rise; `service` has a time for each of them. `workers` take the frames in turn as they become free.
    """
    free = [0.0] * workers
    delays: list[float] = []
    for arrived, cost in zip(arrivals, service, strict=True):
        ended = max(float(arrived), free[0]) + cost
        heapq.heapreplace(free, ended)
        delays.append(ended - float(arrived))
    return np.array(delays, np.float64)


def drawn_service(measured: Sequence[float], count: int, seed: int) -> Seconds:
    """`count` service times drawn from the measured ones, with repetition."""
    return np.random.default_rng(seed).choice(np.asarray(measured, np.float64), count)
