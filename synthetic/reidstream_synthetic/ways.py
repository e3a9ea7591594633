"""How people walk through a place: straight ways, laid by hand, dealt out to a cast.

Why by hand: people walk around benches and not through them, and cross each other where one hides the other. Trap: a
way is placed by a share of the clip, so a person is somewhere else at frame 10 of a longer clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .people.gait import Stance
from .people.person import Person

FRAMES_PER_SECOND: Final = 15.0
_FAR_ENOUGH_M: Final = 13.0  # to the side, everybody is out of the picture by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A straight way through (x, z) metres at the share `at` of the clip. `heading`: degrees, 0 is away, 90 right.

    `reach_m`: whoever is that far from (x, z) turns round and walks back; None walks on and never comes back.
    """

    x: float
    z: float
    heading: float
    at: float
    reach_m: float | None = None


def stance_on(way: Way, person: Person, frame: int, frames: int) -> Stance:
    """Where the person is at `frame` (from 0) of a clip of `frames`."""
    walked = person.speed * (frame - way.at * frames) / FRAMES_PER_SECOND
    heading, offset = math.radians(way.heading), walked
    if way.reach_m is not None:
        lap, along = divmod(walked + way.reach_m, 2 * way.reach_m)
        offset = along - way.reach_m if lap % 2 == 0 else way.reach_m - along
        turned = math.pi if lap % 2 else 0.0
    else:
        turned = 0.0
    return Stance(
        x=way.x + offset * math.sin(heading),
        z=way.z + offset * math.cos(heading),
        heading=heading + turned,
        walked=walked,
    )


def deal(laid: Sequence[Way], people: int, order: np.random.Generator, others: np.random.Generator) -> tuple[Way, ...]:
    """A way for each of `people`: the laid ones in the order that `order` deals, then ways near these from `others`."""
    first = [laid[index] for index in order.permutation(len(laid))]
    ways = first[:people]
    for index in range(len(first), people):
        near = first[index % len(first)]
        ways.append(
            replace(
                near,
                x=near.x + float(others.uniform(-1.5, 1.5)),
                z=near.z + float(others.uniform(-0.25, 0.25)),
                heading=near.heading + 180.0 * int(others.integers(2)) + float(others.uniform(-4, 4)),
                at=float(others.uniform(0.0, 1.1)),
            )
        )
    return tuple(ways)


def with_return(way: Way, back_m: float) -> Way:
    """The same way, walked to and fro. `back_m`: metres to the wall at the back, before which people turn."""
    away = abs(math.cos(math.radians(way.heading)))
    return replace(way, reach_m=min(_FAR_ENOUGH_M, (back_m - 1.0 - way.z) / max(away, 1e-6)))
