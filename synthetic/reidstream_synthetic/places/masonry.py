"""Flat things of the world (walls, doors, benches) as polygons, painted with soft edges.

Why supersampled: OpenCV smooths lines, but not the edges of areas. Everything here is painted `OVERSAMPLE` times as
large and averaged down once, so the edge of a wall covers the right share of each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from reidstream_synthetic.painting.brush import Pixels
from reidstream_synthetic.painting.fabric import Colour
from reidstream_synthetic.painting.optics import Floats, View

OVERSAMPLE = 2

Span = tuple[float, float]
"""From and to, in metres."""

_BUILT = (255.0,)
_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A supersampled picture under construction; `cover` (H, W) is 255 where something was built."""

    view: View
    pixels: Pixels
    cover: Pixels

    def polygon(self, corners: Sequence[tuple[float, float, float]], colour: Colour) -> None:
        """A flat convex polygon; corners in metres."""
        points, _ = self.view.project(np.array(corners, np.float32))
        fixed = np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(self.pixels, fixed, colour, cv2.LINE_8, _SHIFT)
        cv2.fillConvexPoly(self.cover, fixed, _BUILT, cv2.LINE_8, _SHIFT)

    def upright(self, x: Span, y: Span, z: float, colour: Colour) -> None:
        """A rectangle that faces the camera at depth z."""
        self.polygon([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], colour)

    def level(self, x: Span, y: float, z: Span, colour: Colour) -> None:
        """A rectangle parallel to the ground at height y."""
        self.polygon([(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])], colour)

    def box(self, x: Span, y: Span, z: Span, colour: Colour) -> None:
        """A box: its visible side, its top and its front, each with its own light."""
        (x1, x2), (y1, y2), (z1, z2) = x, y, z
        edge, side = (x1, 0.72) if x1 > 0 else (x2, 0.86)
        if x1 > 0 or x2 < 0:
            self.polygon([(edge, y1, z1), (edge, y1, z2), (edge, y2, z2), (edge, y2, z1)], shaded(colour, side))
        self.level((x1, x2), y2, (z1, z2), shaded(colour, 1.12))
        self.upright((x1, x2), (y1, y2), z1, colour)

    def column(self, x: float, z: float, y: Span, radius: float, colour: Colour) -> None:
        """A round upright column, lit from the left."""
        strips = 14
        angles = np.linspace(-np.pi / 2, np.pi / 2, strips + 1)
        for low, high in pairwise(angles.tolist()):
            middle = (low + high) / 2
            light = 0.55 + 0.55 * max(0.0, math.cos(middle + 0.7))
            edges = [(x + radius * math.sin(at), z - radius * math.cos(at)) for at in (low, high)]
            (left, near), (right, far) = edges
            strip = [(left, y[0], near), (right + 0.004, y[0], far), (right + 0.004, y[1], far), (left, y[1], near)]
            self.polygon(strip, shaded(colour, light))

    def leaves(
        self,
        rng: np.random.Generator,
        centre: tuple[float, float, float],
        size: tuple[float, float],
        colour: Colour,
        *,
        count: int = 260,
    ) -> None:
        """A bush or crown: dabs from dark to light, `size` half width and half height in metres."""
        point, depth = self.view.project(np.array(centre, np.float32))
        scale = self.view.focal / float(depth)
        for index in range(count):
            angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
            dx, dy = radius * np.cos(angle), radius * np.sin(angle)
            light = 0.45 + 0.45 * index / count + 0.22 * (dy - 0.6 * dx) + rng.uniform(-0.10, 0.10)
            place = (
                round(float(point[0] + dx * size[0] * scale)),
                round(float(point[1] - dy * size[1] * scale)),
            )
            dab = max(1, round(float(rng.uniform(0.10, 0.19) * min(size) * scale)))
            cv2.circle(self.pixels, place, dab, shaded(colour, light), -1)
            cv2.circle(self.cover, place, dab, _BUILT, -1)

    def finish(self) -> tuple[Pixels, Floats]:
        """The picture at its real size (H, W, 3), and what part of each pixel is built (H, W), 0 to 1."""
        size = (self.view.width // OVERSAMPLE, self.view.height // OVERSAMPLE)
        cover = cv2.resize(self.cover, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
        pixels = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return pixels, cover


def empty_site(view: View) -> Site:
    """An empty site for a view of this size."""
    large = view.scaled(OVERSAMPLE)
    return Site(
        view=large,
        pixels=np.zeros((large.height, large.width, 3), np.uint8),
        cover=np.zeros((large.height, large.width), np.uint8),
    )


def shaded(colour: Colour, light: float) -> Colour:
    """The colour under more or less light."""
    blue, green, red = (min(255.0, max(0.0, part * light)) for part in colour)
    return blue, green, red
