"""A pinhole camera above a flat ground: the world in metres, the picture in pixels.

Why real projection: size, foreshortening, the horizon and who hides whom then agree with each other. World axes:
x right, y up, z away from the camera, whose foot is the origin. Trap: pictures count y downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_HORIZON = 1e-4  # metres of fall for each metre of depth; less is level


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a camera hangs and how it looks. `height_m` above the ground, `pitch` radians downwards, `focal` pixels."""

    width: int
    height: int
    height_m: float
    pitch: float
    focal: float

    def scaled(self, factor: int) -> View:
        """The same view with `factor` times as many pixels each way."""
        return View(
            width=self.width * factor,
            height=self.height * factor,
            height_m=self.height_m,
            pitch=self.pitch,
            focal=self.focal * factor,
        )

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """(..., 3) metres to (..., 2) pixels and (...) depth in metres. Points must lie in front of the camera."""
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        up = points[..., 1] - self.height_m
        depth = points[..., 2] * cos - up * sin
        rise = up * cos + points[..., 2] * sin
        pixels = np.empty((*points.shape[:-1], 2), np.float32)
        pixels[..., 0] = self.width / 2 + self.focal * points[..., 0] / depth
        pixels[..., 1] = self.height / 2 - self.focal * rise / depth
        return pixels, depth

    def ground(self) -> tuple[Floats, Floats]:
        """The ground point (x, z) under every pixel in metres, (height, width) each; infinite above the horizon."""
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        across = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.focal
        fall = (np.arange(self.height, dtype=np.float32)[:, None] + 0.5 - self.height / 2) / self.focal
        drop = fall * cos + sin  # metres downwards for each metre of depth
        depth = np.where(drop > _HORIZON, self.height_m / np.maximum(drop, _HORIZON), np.inf).astype(np.float32)
        away = depth * (cos - fall * sin)
        return depth * across, np.broadcast_to(away, (self.height, self.width))
