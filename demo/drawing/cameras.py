"""The two cameras: which place, which sensor, and who comes along when.

Why hand-laid ways: people walk around benches, not through them, and cross each other where it hides somebody. The seed
deals the people out to the ways, so another seed is another order of entry.
"""

from __future__ import annotations

import numpy as np

from .crossing import crossing
from .plaza import plaza
from .sensor import Sensor
from .shots import Camera, Way

_PLAZA_WAYS = (
    Way(x=-0.6, z=7.6, heading=90, at=0.20),
    Way(x=0.8, z=8.5, heading=-86, at=0.85),
    Way(x=1.5, z=10.3, heading=94, at=0.95),
    Way(x=-0.8, z=11.0, heading=-92, at=0.10),
    Way(x=0.6, z=13.2, heading=88, at=1.05),
    Way(x=0.4, z=13.9, heading=-90, at=0.40),
    Way(x=-0.5, z=16.6, heading=92, at=0.25),
    Way(x=1.6, z=17.4, heading=-91, at=0.75),
    Way(x=-1.3, z=11.2, heading=166, at=0.60),
    Way(x=1.0, z=9.8, heading=14, at=0.35),
)
_CROSSING_WAYS = (
    Way(x=-1.5, z=10.2, heading=174, at=0.35),
    Way(x=-0.4, z=10.6, heading=4, at=0.80),
    Way(x=0.9, z=10.0, heading=187, at=0.50),
    Way(x=1.9, z=10.9, heading=-8, at=0.35),
    Way(x=-2.2, z=11.2, heading=24, at=1.00),
    Way(x=2.1, z=11.6, heading=170, at=0.80),
    Way(x=-0.6, z=15.2, heading=90, at=0.85),
    Way(x=1.0, z=15.9, heading=-92, at=1.10),
    Way(x=-1.2, z=16.6, heading=-88, at=0.20),
    Way(x=0.4, z=12.6, heading=112, at=0.10),
)


def cameras(seed: int) -> tuple[Camera, Camera]:
    """Camera A and camera B of a seed."""
    rng = np.random.default_rng((seed, 4))
    first = Camera(
        place=plaza(seed),
        sensor=Sensor(gains=(0.95, 1.0, 1.05), gamma=0.96, blur=0.0, noise=2.2, vignette=0.16),
        ways=tuple(_PLAZA_WAYS[index] for index in rng.permutation(len(_PLAZA_WAYS))),
        seed=(seed, 5),
    )
    second = Camera(
        place=crossing(seed),
        sensor=Sensor(gains=(1.03, 0.98, 0.91), gamma=1.10, blur=0.7, noise=4.0, vignette=0.24),
        ways=tuple(_CROSSING_WAYS[index] for index in rng.permutation(len(_CROSSING_WAYS))),
        seed=(seed, 6),
    )
    return first, second
