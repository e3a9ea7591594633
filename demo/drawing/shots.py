"""Draws what a camera sees: the people of a cast on their ways through a place, frame by frame, with their boxes.

A box is what a detector would give: the visible extent, a pixel or two off. Trap: `people` is the truth and serves
scoring only; what a tracker would know, and all that is streamed or matched, is `tracks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .brush import Canvas, Pixels
from .figure import paint_person, rods, silhouette
from .gait import Stance
from .places import Place, Prop
from .sensor import Developer, Sensor, developer
from .shadows import cast_shadows
from .wardrobe import Person

FRAMES_PER_SECOND = 15.0
MIN_VISIBLE = 0.35
MIN_HEIGHT = 40
_NEAREST_M = 2.0  # nearer is below the picture, and soon behind the lens

Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A straight way through (x, z) metres at the share `at` of the clip; `heading`: degrees, 0 is away, 90 right."""

    x: float
    z: float
    heading: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One frame: its JPEG, and its N boxes: (x1, y1, x2, y2) pixels, whom each shows, how much is visible (0 to 1)."""

    jpeg: bytes
    boxes: Boxes
    people: tuple[int, ...]
    visible: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """A place, its sensor, and who walks which way: `ways[i]` is the way of person i."""

    place: Place
    sensor: Sensor
    ways: tuple[Way, ...]
    seed: tuple[int, int]


def shots(camera: Camera, people: Sequence[Person], frames: int) -> Iterator[Shot]:
    """The camera's clip. The same arguments give the same bytes."""
    view = camera.place.view
    develop = developer(camera.sensor, view.width, view.height, (*camera.seed, 1))
    rng = np.random.default_rng((*camera.seed, 2))
    for frame in range(frames):
        stances = {}
        for index, (person, way) in enumerate(zip(people, camera.ways, strict=True)):
            stance = _stance(person, way, frame, frames)
            if stance.z > _NEAREST_M:
                stances[index] = stance
        yield _shot(camera.place, people, stances, develop, rng)


def _shot(
    place: Place, people: Sequence[Person], stances: dict[int, Stance], develop: Developer, rng: np.random.Generator
) -> Shot:
    view = place.view
    extents = {index: silhouette(people[index], stance, view) for index, stance in stances.items()}
    seen = [
        index
        for index, (x1, y1, x2, y2) in extents.items()
        if x2 > 0 and x1 < view.width and y1 < view.height and y2 > 0
    ]
    canvas = Canvas(pixels=place.ground.copy(), owner=np.zeros((view.height, view.width), np.uint8))
    cast_shadows(canvas.pixels, view, (rod for i in seen for rod in rods(people[i], stances[i])), place.sun)
    painted = {}
    order: list[tuple[float, int | Prop]] = [(stances[index].z, index) for index in seen]
    order += [(prop.depth, prop) for prop in place.props]
    for _, thing in sorted(order, key=lambda item: -item[0]):
        if isinstance(thing, Prop):
            _put(canvas, thing)
        else:
            paint_person(canvas, thing + 1, people[thing], stances[thing], view=view, light=place.light)
            painted[thing] = _count(canvas, thing, extents[thing]) / _share_inside(canvas, extents[thing])
    boxes, shown, visible = [], [], []
    for index in sorted(painted):
        box = _visible_box(canvas, index, extents[index], rng)
        share = _count(canvas, index, extents[index]) / max(painted[index], 1)
        if share >= MIN_VISIBLE and box[3] - box[1] >= MIN_HEIGHT:
            boxes.append(box)
            shown.append(index)
            visible.append(min(share, 1.0))
    return Shot(
        jpeg=develop.develop(canvas.pixels),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        people=tuple(shown),
        visible=tuple(visible),
    )


def _stance(person: Person, way: Way, frame: int, frames: int) -> Stance:
    walked = person.speed * (frame - way.at * frames) / FRAMES_PER_SECOND
    heading = math.radians(way.heading)
    return Stance(
        x=way.x + walked * math.sin(heading), z=way.z + walked * math.cos(heading), heading=heading, walked=walked
    )


def _put(canvas: Canvas, prop: Prop) -> None:
    height, width = prop.cover.shape
    rows, columns = slice(prop.top, prop.top + height), slice(prop.left, prop.left + width)
    target = canvas.pixels[rows, columns]
    target[...] = target + (prop.pixels - target.astype(np.float32)) * prop.cover[..., None]
    canvas.owner[rows, columns][prop.cover > 0.5] = 0  # noqa: PLR2004 - more than half of the pixel


def _window(canvas: Canvas, extent: tuple[float, float, float, float]) -> tuple[int, int, Pixels]:
    """Left and top of a person's surroundings, and who owns these."""
    height, width = canvas.owner.shape
    left, top = max(0, int(extent[0]) - 12), max(0, int(extent[1]) - 12)
    right, bottom = min(width, int(extent[2]) + 13), min(height, int(extent[3]) + 13)
    return left, top, canvas.owner[top:bottom, left:right]


def _count(canvas: Canvas, index: int, extent: tuple[float, float, float, float]) -> int:
    return int(np.count_nonzero(_window(canvas, extent)[2] == index + 1))


def _share_inside(canvas: Canvas, extent: tuple[float, float, float, float]) -> float:
    """Which part of the extent's area lies in the picture."""
    height, width = canvas.owner.shape
    x1, y1, x2, y2 = extent
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    return float(max(inside / ((x2 - x1) * (y2 - y1)), 0.02))


def _visible_box(
    canvas: Canvas, index: int, extent: tuple[float, float, float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    left, top, owners = _window(canvas, extent)
    jitter = np.clip(rng.normal(0, 1.2, 4), -2.5, 2.5)
    mine = owners == index + 1
    xs, ys = np.flatnonzero(mine.any(axis=0)), np.flatnonzero(mine.any(axis=1))
    if len(xs) == 0:
        return (0.0, 0.0, 0.0, 0.0)
    height, width = canvas.owner.shape
    corners = np.array([left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1]) + jitter
    corners = np.clip(corners, 0, [width, height, width, height])
    return (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))
