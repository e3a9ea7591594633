"""Shadows on the ground: everything that stands there, moved along the light and drawn flat.

Why they matter: without shadows, people seem to float. They are drawn at a quarter of the size and blurred, which is
cheap and looks like a real penumbra.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from .brush import Pixels
from .optics import Floats, View

_SHRINK = 4
_SHIFT = 3  # fractional bits of OpenCV's line coordinates
_OPAQUE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """How shadows fall: one metre of height is cast `x` to the right and `z` away (metres); `dark` 0 to 1."""

    x: float
    z: float
    dark: float
    blur: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rod:
    """A thick line between two world points, `radius` in metres."""

    start: Floats
    end: Floats
    radius: float


def cast_shadows(pixels: Pixels, view: View, rods: Iterable[Rod], sun: Sun) -> None:
    """Darken `pixels` (H, W, 3) where the rods keep the sun away."""
    height, width = view.height // _SHRINK, view.width // _SHRINK
    mask = np.full((height, width), _OPAQUE, np.uint8)
    shade = round(_OPAQUE * (1 - sun.dark))
    for rod in rods:
        ends = np.stack([rod.start, rod.end])
        flat = np.stack([ends[:, 0] + sun.x * ends[:, 1], np.zeros(2, np.float32), ends[:, 2] + sun.z * ends[:, 1]], 1)
        points, depth = view.project(flat.astype(np.float32))
        thick = max(1, round(1.3 * rod.radius * view.focal / float(depth.mean()) / _SHRINK))
        fixed = np.round(points * ((1 << _SHIFT) / _SHRINK)).astype(int)
        cv2.line(mask, fixed[0].tolist(), fixed[1].tolist(), (shade,), thick, cv2.LINE_AA, _SHIFT)
    soft = cv2.GaussianBlur(mask, (0, 0), sun.blur)
    full = cv2.cvtColor(cv2.resize(soft, (view.width, view.height), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR)
    cv2.multiply(pixels, full, dst=pixels, scale=1 / _OPAQUE)
