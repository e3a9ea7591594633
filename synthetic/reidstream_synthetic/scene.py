"""A scene: several cameras that see the same people.

The first two cameras are a plaza and a crossing that were arranged by hand; further ones are these two places again,
built of other stones, seen from other heights through other sensors. Trap: every random stream has a seed of its own
(the scene's seed and a number), so that another number of people or cameras changes none of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .camera import Camera
from .painting.optics import View
from .painting.sensor import Sensor
from .people.cast import MAX_PEOPLE, cast
from .people.person import Person
from .places import crossing, plaza
from .places.place import Place
from .ways import FRAMES_PER_SECOND, Way, deal, with_return

MAX_CAMERAS: Final = 100
MAX_FRAMES: Final = 999_999  # MOTChallenge names files by six digits

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of place: how it is built and walked through, and the sensor that looks at it by default."""

    build: Callable[[np.random.Generator, View], Place]
    view: View
    back_m: float
    ways: tuple[Way, ...]
    sensor: Sensor


_KINDS: Final = (
    _Kind(
        build=plaza.plaza,
        view=plaza.VIEW,
        back_m=plaza.BACK_M,
        ways=_PLAZA_WAYS,
        sensor=Sensor(gains=(0.95, 1.0, 1.05), gamma=0.96, blur=0.0, noise=2.2, vignette=0.16),
    ),
    _Kind(
        build=crossing.crossing,
        view=crossing.VIEW,
        back_m=crossing.BACK_M,
        ways=_CROSSING_WAYS,
        sensor=Sensor(gains=(1.03, 0.98, 0.91), gamma=1.10, blur=0.7, noise=4.0, vignette=0.24),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Cameras that see the same people, 1 to `people`, for `frames` frames each."""

    seed: int
    people: int
    frames: int
    cameras: tuple[Camera, ...]

    @property
    def frames_per_second(self) -> float:
        """Of every camera."""
        return FRAMES_PER_SECOND


def make_scene(seed: int, *, people: int = 10, cameras: int = 2, frames: int = 90, returning: bool = True) -> Scene:
    """A scene drawn from `seed`. The same arguments give the same pixels, on the same versions of NumPy and OpenCV.

    `people`: 1 to 1000, no two of whom wear the same top and trousers. `cameras`: 1 to 100. `frames`: of each camera,
    15 a second. `returning`: people come back after they have left the picture, and meet the camera again and again;
    False: everybody passes once, which leaves a long clip empty at its ends. Builds the places (a fraction of a second
    each), draws no frame. Raises ValueError.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; use 0 or more")
    for name, value, most in (
        ("people", people, MAX_PEOPLE),
        ("cameras", cameras, MAX_CAMERAS),
        ("frames", frames, MAX_FRAMES),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name} {value} is not within 1 and {most}")
    crowd = cast(seed, people)
    order = np.random.default_rng((seed, 4))  # the first two cameras share it
    made = []
    for index in range(cameras):
        arranged = index < len(_KINDS)
        camera = _camera(seed, index, crowd, frames, order if arranged else np.random.default_rng((seed, 7, index, 2)))
        if returning:
            back_m = _KINDS[index % len(_KINDS)].back_m
            camera = replace(camera, ways=tuple(with_return(way, back_m) for way in camera.ways))
        made.append(camera)
    return Scene(seed=seed, people=people, frames=frames, cameras=tuple(made))


def _camera(seed: int, index: int, people: tuple[Person, ...], frames: int, order: np.random.Generator) -> Camera:
    kind = _KINDS[index % len(_KINDS)]
    textures: tuple[int, ...]
    noise: tuple[int, ...]
    if index < len(_KINDS):
        textures, noise = (seed, 2 + index), (seed, 5 + index)
        view, sensor = kind.view, kind.sensor
    else:
        textures, noise = (seed, 7, index, 1), (seed, 7, index, 4)
        rng = np.random.default_rng((seed, 7, index, 3))
        view, sensor = _other_view(kind.view, rng), _other_sensor(rng)
    return Camera(
        name=f"c{index + 1}",
        place=kind.build(np.random.default_rng(textures), view),
        sensor=sensor,
        people=people,
        ways=deal(kind.ways, len(people), order, np.random.default_rng((seed, 8, index, 1))),
        frames=frames,
        seed=noise,
    )


def _other_view(view: View, rng: np.random.Generator) -> View:
    """The same place from a little higher or lower, a little nearer or farther."""
    return replace(
        view,
        height_m=view.height_m * float(rng.uniform(0.9, 1.15)),
        pitch=view.pitch * float(rng.uniform(0.95, 1.1)),
        focal=view.focal * float(rng.uniform(0.9, 1.1)),
    )


def _other_sensor(rng: np.random.Generator) -> Sensor:
    """Another white balance, exposure, softness and noise."""
    blue, green, red = (float(gain) for gain in rng.uniform(0.9, 1.06, 3))
    return Sensor(
        gains=(blue, green, red),
        gamma=float(rng.uniform(0.92, 1.14)),
        blur=float(rng.choice([0.0, 0.5, 0.8])),
        noise=float(rng.uniform(1.5, 4.5)),
        vignette=float(rng.uniform(0.1, 0.28)),
    )
