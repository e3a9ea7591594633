"""Draws one moment of a place with people in it, from far to near, and measures what is seen of each.

Why measured on the picture: `Canvas.owner` says whose each pixel is, so who hides whom is counted and not computed.
Trap: "seen" is a share of the whole body, also of what lies outside the picture, which nobody painted; that part is
estimated from the area of the silhouette.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .painting.brush import Canvas, Owners, Pixels
from .painting.shadows import cast_shadows
from .people.figure import paint_person, rods, silhouette
from .people.gait import Stance
from .people.person import Person
from .places.place import Place, Prop

Extent = tuple[float, float, float, float]
_NOBODY: Extent = (0.0, 0.0, 0.0, 0.0)
_MARGIN = 12  # pixels by which a body may stick out of its silhouette's extent
_LEAST_INSIDE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A person (index in the cast) in the picture: all of it, and what is seen of it. Boxes of zeros: not one pixel."""

    index: int
    box: Extent
    visible_box: Extent
    visibility: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Painted:
    """A person right after it was painted, before anybody nearer is. `whole`: pixels, also those outside."""

    box: Extent
    whole: float


def draw_moment(
    place: Place, people: Sequence[Person], stances: Mapping[int, Stance]
) -> tuple[Pixels, tuple[Sighting, ...]]:
    """The scene (H, W, 3) before any sensor, and everybody whose silhouette touches it, by index.

    `stances`: of each person who is in front of the camera, by index in `people`.
    """
    view = place.view
    extents = {index: silhouette(people[index], stance, view) for index, stance in stances.items()}
    seen = [
        index
        for index, (x1, y1, x2, y2) in extents.items()
        if x2 > 0 and x1 < view.width and y1 < view.height and y2 > 0
    ]
    canvas = Canvas(pixels=place.ground.copy(), owner=np.zeros((view.height, view.width), np.uint16))
    cast_shadows(canvas.pixels, view, (rod for i in seen for rod in rods(people[i], stances[i])), place.sun)
    painted: dict[int, _Painted] = {}
    order: list[tuple[float, int | Prop]] = [(stances[index].z, index) for index in seen]
    order += [(prop.depth, prop) for prop in place.props]
    for _, thing in sorted(order, key=lambda item: -item[0]):
        if isinstance(thing, Prop):
            _put(canvas, thing)
        else:
            paint_person(canvas, thing + 1, people[thing], stances[thing], view=view, light=place.light)
            box, pixels = _measured(canvas.owner, thing, extents[thing])
            painted[thing] = _Painted(box=box, whole=pixels / _share_inside(canvas.owner, extents[thing]))
    sightings = []
    for index in sorted(painted):
        visible_box, pixels = _measured(canvas.owner, index, extents[index])
        sightings.append(
            Sighting(
                index=index,
                box=painted[index].box,
                visible_box=visible_box,
                visibility=min(pixels / max(painted[index].whole, 1), 1.0),
            )
        )
    return canvas.pixels, tuple(sightings)


def _put(canvas: Canvas, prop: Prop) -> None:
    height, width = prop.cover.shape
    rows, columns = slice(prop.top, prop.top + height), slice(prop.left, prop.left + width)
    target = canvas.pixels[rows, columns]
    target[...] = target + (prop.pixels - target.astype(np.float32)) * prop.cover[..., None]
    canvas.owner[rows, columns][prop.cover > 0.5] = 0  # noqa: PLR2004 - more than half of the pixel


def _measured(owner: Owners, index: int, extent: Extent) -> tuple[Extent, int]:
    """The box around a person's pixels, and how many these are."""
    height, width = owner.shape
    left, top = max(0, int(extent[0]) - _MARGIN), max(0, int(extent[1]) - _MARGIN)
    right, bottom = min(width, int(extent[2]) + _MARGIN + 1), min(height, int(extent[3]) + _MARGIN + 1)
    mine = owner[top:bottom, left:right] == index + 1
    xs, ys = np.flatnonzero(mine.any(axis=0)), np.flatnonzero(mine.any(axis=1))
    if len(xs) == 0:
        return _NOBODY, 0
    box = (float(left + xs[0]), float(top + ys[0]), float(left + xs[-1] + 1), float(top + ys[-1] + 1))
    return box, int(np.count_nonzero(mine))


def _share_inside(owner: Owners, extent: Extent) -> float:
    """Which part of the extent's area lies in the picture."""
    height, width = owner.shape
    x1, y1, x2, y2 = extent
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    return float(max(inside / ((x2 - x1) * (y2 - y1)), _LEAST_INSIDE))
