"""Paints one round, clothed body part with soft edges and light from one side.

Why a distance function and not OpenCV's polygons: it also gives the position along and across the part, which edges,
shading and patterns are made from. Each stroke touches only the rectangle around its part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .fabric import Fabric, Pattern
from .optics import Floats

Pixels = npt.NDArray[np.uint8]
Owners = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Light as the camera sees it: a direction (right, up, towards the camera), and how bright shade and sun are."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canvas:
    """A picture being painted: `pixels` (H, W, 3) BGR, and `owner` (H, W): who was painted there last (0: nobody)."""

    pixels: Pixels
    owner: Owners


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A round body part from `start` to `end` (pixels). `half_widths` (pixels) at `knots` (0 to 1) along it.

    `rounding`: how far the ends bulge out, in half widths. `length_m`, `radius_m`, `turn` (radians) place the fabric's
    pattern. `shade`: below 1 for parts that other parts keep in the shade.
    """

    start: Floats
    end: Floats
    knots: tuple[float, ...]
    half_widths: tuple[float, ...]
    fabric: Fabric
    length_m: float
    radius_m: float
    turn: float = 0.0
    rounding: float = 1.0
    shade: float = 1.0


def paint(canvas: Canvas, owner: int, part: Part, light: Light) -> None:
    """Paint `part` over what is there."""
    widest = max(part.half_widths)
    reach = widest * max(1.0, part.rounding) + 1
    height, width = canvas.owner.shape
    x1 = max(0, int(min(part.start[0], part.end[0]) - reach))
    y1 = max(0, int(min(part.start[1], part.end[1]) - reach))
    x2 = min(width, int(max(part.start[0], part.end[0]) + reach) + 2)
    y2 = min(height, int(max(part.start[1], part.end[1]) + reach) + 2)
    if x1 >= x2 or y1 >= y2:
        return
    axis = part.end - part.start
    length = max(float(np.hypot(axis[0], axis[1])), 1e-3)
    ux, uy = float(axis[0]) / length, float(axis[1]) / length
    xs = np.arange(x1, x2, dtype=np.float32) + np.float32(0.5 - part.start[0])
    ys = (np.arange(y1, y2, dtype=np.float32) + np.float32(0.5 - part.start[1]))[:, None]
    along = xs * ux + ys * uy
    across = ys * ux - xs * uy  # to the left of the axis, seen from its start
    inside = np.clip(along, 0, length)
    half = np.interp(inside * np.float32(1 / length), part.knots, part.half_widths).astype(np.float32)
    beyond = (along - inside) / np.float32(max(part.rounding, 0.05))
    distance = np.sqrt(across * across + beyond * beyond)
    alpha = np.clip(half - distance + np.float32(0.5), 0, 1)
    if not alpha.any():
        return
    normal = np.clip(across / np.maximum(half, np.float32(0.5)), -1, 1)
    facing = np.sqrt(1 - normal * normal)
    right, up, near = light.direction
    sun = normal * (-uy * right - ux * up) + facing * near
    bright = light.ambient * (0.72 + 0.28 * facing) + light.diffuse * np.maximum(sun, 0)
    around = np.asarray(np.arcsin(normal) + part.turn, np.float32)
    folds = np.sin(along * (21 / length) + 2.3 * around) * np.sin(along * (8 / length) - 1.7 * around + part.turn)
    bright *= part.shade * (1 + 0.035 * folds)
    stroke = alpha[..., None]
    target = canvas.pixels[y1:y2, x1:x2]
    dye = _dye(part.fabric, inside * np.float32(part.length_m / length), around * np.float32(part.radius_m))
    colour = dye * bright[..., None]
    target[...] = np.clip(target + (colour - target) * stroke, 0, 255)
    canvas.owner[y1:y2, x1:x2][alpha > 0.5] = owner  # noqa: PLR2004 - more than half of the pixel


def _dye(fabric: Fabric, down_m: Floats, around_m: Floats) -> Floats:
    """The fabric's colour (..., 3) at distances down the part and around it."""
    first, second = np.array(fabric.colour, np.float32), np.array(fabric.second, np.float32)
    turns = np.float32(2 * np.pi / fabric.period_m)
    share: Floats
    match fabric.pattern:
        case Pattern.PLAIN:
            return np.broadcast_to(first, (*down_m.shape, 3))
        case Pattern.HOOPS:
            share = _band(np.sin(down_m * turns))
        case Pattern.STRIPES:
            share = _band(np.sin(around_m * turns))
        case Pattern.CHECKS:
            share = 0.5 * _band(np.sin(down_m * turns)) + 0.5 * _band(np.sin(around_m * turns))
        case Pattern.BLOCKS:
            share = np.clip((down_m - np.float32(0.3)) * 40 + np.float32(0.5), 0, 1)
    return first + (second - first) * share[..., None]


def _band(wave: Floats) -> Floats:
    """A wave of -1 to 1 into stripes of 0 and 1 with soft edges."""
    return np.asarray(np.clip(wave * 2.5 + 0.5, 0, 1), np.float32)
