"""What a camera does to a picture: vignette, exposure, white balance, softness, noise.

Why one field of noise: 2.8 million random numbers for each frame would cost more than drawing the people. So one larger
field is made, and each frame takes a piece of it from another place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .brush import Pixels

_SPARE = 96  # pixels by which the noise field exceeds a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """`gains`: blue, green, red. `gamma`: of the tone curve. `blur` (pixels), `noise` (levels): standard deviations."""

    gains: tuple[float, float, float]
    gamma: float
    blur: float
    noise: float
    vignette: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Developer:
    """A sensor made ready for frames of one size; use from one thread."""

    tone: Pixels
    falloff: Pixels
    grain: npt.NDArray[np.int16]
    blur: float
    rng: np.random.Generator

    def develop(self, scene: Pixels) -> Pixels:
        """The scene (H, W, 3) as the sensor sees it. Trap: `scene` is overwritten on the way."""
        cv2.multiply(scene, self.falloff, dst=scene, scale=1 / 255)
        cv2.LUT(scene, self.tone, dst=scene)
        if self.blur > 0:
            cv2.GaussianBlur(scene, (0, 0), self.blur, dst=scene)
        height, width = scene.shape[:2]
        top, left = self.rng.integers(0, _SPARE, 2)
        noisy = cv2.add(scene, self.grain[top : top + height, left : left + width], dtype=cv2.CV_8U)
        return np.asarray(noisy, np.uint8)


def developer(sensor: Sensor, width: int, height: int, seed: Sequence[int]) -> Developer:
    """Prepare a sensor for frames of this size."""
    rng = np.random.default_rng(seed)
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    tone = np.stack([np.clip(levels**sensor.gamma * gain, 0, 1) * 255 for gain in sensor.gains], axis=-1)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    falloff = 255 * (1 - sensor.vignette * (across**2 + down**2) / 2)
    grain = rng.normal(0, sensor.noise, (height + _SPARE, width + _SPARE, 3))
    return Developer(
        tone=np.round(tone)[None].astype(np.uint8),
        falloff=np.repeat(np.round(falloff)[..., None], 3, axis=2).astype(np.uint8),
        grain=np.round(grain).astype(np.int16),
        blur=sensor.blur,
        rng=rng,
    )
