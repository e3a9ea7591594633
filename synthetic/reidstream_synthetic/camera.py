"""A camera: a place, a sensor, and who walks which way. Iterating over it draws its clip.

Trap: nothing is remembered. Each iteration draws all frames anew, from the first one, with the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .frame import Boxes, Frame
from .moment import Sighting, draw_moment
from .painting.sensor import Sensor, developer
from .people.gait import Stance
from .people.person import Person
from .places.place import Place
from .ways import Way, stance_on

_NEAREST_M: Final = 2.0  # nearer is below the picture, and soon behind the lens
_JITTER_PX: Final = 1.2
_MAX_JITTER_PX: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """One camera of a scene, made by `make_scene`. `len(camera)` is its number of frames; iterating draws them.

    `ways[i]` is the way of `people[i]`. `seed`: of the sensor's noise and of the detector's inaccuracy. Each iterator
    is for one thread; several may run at once.
    """

    name: str
    place: Place
    sensor: Sensor
    people: tuple[Person, ...]
    ways: tuple[Way, ...]
    frames: int
    seed: tuple[int, ...]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.place.view.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.place.view.height

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Frame]:
        develop = developer(self.sensor, self.width, self.height, (*self.seed, 1))
        rng = np.random.default_rng((*self.seed, 2))
        for number in range(1, self.frames + 1):
            scene, everybody = draw_moment(self.place, self.people, self.stances(number))
            jitter = [np.clip(rng.normal(0, _JITTER_PX, 4), -_MAX_JITTER_PX, _MAX_JITTER_PX) for _ in everybody]
            sightings = [(one, moved) for one, moved in zip(everybody, jitter, strict=True) if one.box[2]]
            yield Frame(
                camera=self.name,
                number=number,
                pixels=develop.develop(scene),
                people=np.array([one.index + 1 for one, _ in sightings], np.int64),
                boxes=_boxes([one.box for one, _ in sightings]),
                visible_boxes=_boxes([one.visible_box for one, _ in sightings]),
                detector_boxes=_boxes([self._detected(one, moved) for one, moved in sightings]),
                visibility=np.array([one.visibility for one, _ in sightings], np.float64),
            )

    def stances(self, number: int) -> dict[int, Stance]:
        """Where everybody in front of the camera is in frame `number` (from 1), by index in `people`. Draws nothing."""
        stances = {}
        for index, (person, way) in enumerate(zip(self.people, self.ways, strict=True)):
            stance = stance_on(way, person, number - 1, self.frames)
            if stance.z > _NEAREST_M:
                stances[index] = stance
        return stances

    def _detected(self, sighting: Sighting, moved: Boxes) -> Boxes:
        """The visible box as a detector finds it."""
        if not sighting.visible_box[2]:
            return np.zeros(4)
        most = [self.width, self.height, self.width, self.height]
        return np.clip(np.array(sighting.visible_box) + moved, 0, most)


def _boxes(rows: Sequence[Sequence[float] | Boxes]) -> Boxes:
    return np.array(rows, np.float64).reshape(-1, 4)
