"""A simulated server, first in, first out: what the delay would be if serving itself cost nothing.

Why: at half load a frame mostly waits for other frames, which no server can avoid. What a real server adds to that is
its own. Trap: the service times come from the in-process ceiling, which has no transport, so the real server's
transport counts as its own delay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from bench.load.arrivals import Seconds


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
