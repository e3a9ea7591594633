"""Both cameras' clips, with the track numbers that each camera's tracker would give.

Trap: a track's number must say nothing about who it is, so each camera counts in its own order of entry. `people` is
the truth and serves scoring only; what is streamed and matched knows tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_synthetic import Camera, Frame, make_scene

Ids = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.float32]

PEOPLE = 10
MIN_VISIBLE = 0.35
MIN_HEIGHT = 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One frame: its JPEG, and its N boxes: (x1, y1, x2, y2) pixels, whom each shows (from 0), how much is visible."""

    jpeg: bytes
    boxes: Boxes
    people: tuple[int, ...]
    visible: tuple[float, ...]


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


def detected(frame: Frame) -> Shot:
    """What a camera's detector makes of a frame: people who are large enough, and not too much hidden."""
    boxes = frame.detector_boxes
    found = (frame.visibility >= MIN_VISIBLE) & (boxes[:, 3] - boxes[:, 1] >= MIN_HEIGHT)
    return Shot(
        jpeg=frame.jpeg(),
        boxes=boxes[found].astype(np.float32),
        people=tuple((frame.people[found] - 1).tolist()),
        visible=tuple(frame.visibility[found].tolist()),
    )


def draw_clips(seed: int, frames: int, on_frame: Callable[[], object]) -> tuple[Clip, Clip]:
    """Draw both clips; `on_frame` is called after each frame."""
    scene = make_scene(seed, people=PEOPLE, cameras=2, frames=frames, returning=False)

    def draw(name: str, camera: Camera) -> Clip:
        drawn = []
        for frame in camera:
            drawn.append(detected(frame))
            on_frame()
        return Clip(name=name, shots=tuple(drawn), order=number_tracks(drawn))

    first, second = scene.cameras
    return draw("A", first), draw("B", second)
