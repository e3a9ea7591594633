"""Both cameras' clips, with the track numbers that each camera's tracker would give.

Trap: a track's number must say nothing about who it is, so each camera counts in its own order of entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .drawing.cameras import cameras
from .drawing.shots import Camera, Shot, shots
from .drawing.wardrobe import cast

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A camera's frames. `order[t]` is the person of track t: the truth, for scoring only."""

    name: str
    shots: tuple[Shot, ...]
    order: tuple[int, ...]

    def tracks(self, shot: Shot) -> Ids:
        """The track of each box of a shot (N,)."""
        return np.array([self.order.index(person) for person in shot.people], np.int64)

    def label(self, track: int) -> str:
        """How people call a track: "A3"."""
        return f"{self.name}{track + 1}"


def number_tracks(drawn: Sequence[Shot]) -> tuple[int, ...]:
    """People in the order in which they are first seen; from left to right where several come at once."""
    order: list[int] = []
    for shot in drawn:
        for _, person in sorted(zip(shot.boxes[:, 0].tolist(), shot.people, strict=True)):
            if person not in order:
                order.append(person)
    return tuple(order)


def draw_clips(seed: int, frames: int, on_frame: Callable[[], object]) -> tuple[Clip, Clip]:
    """Draw both clips; `on_frame` is called after each frame."""
    people = cast(seed)

    def draw(name: str, camera: Camera) -> Clip:
        drawn = []
        for shot in shots(camera, people, frames):
            drawn.append(shot)
            on_frame()
        return Clip(name=name, shots=tuple(drawn), order=number_tracks(drawn))

    first, second = cameras(seed)
    return draw("A", first), draw("B", second)
