"""What a worse detector than `Frame.detector_boxes` finds: boxes that are off, people missed, boxes around nobody.

Why: a tracker that was only ever given the truth has learned nothing. Every figure is drawn from a seed, the camera's
name and the frame's number, so any frame can be asked for alone. Trap: boxes come by falling score, never in the order
of people, which would give away who is who.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .frame import Boxes, Frame

Scores: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorNoise:
    """How bad a detector is. Raises ValueError.

    jitter           how far an edge is off: the standard deviation as a share of the box's width or height
    miss_rate        how much of the people in sight is missed, 0 to 1
    false_positives  boxes around nobody, on average in each frame
    min_visibility   whoever is seen less than that is never found, 0 to 1
    seed             0 or more
    """

    jitter: float = 0.03
    miss_rate: float = 0.05
    false_positives: float = 0.3
    min_visibility: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("jitter", self.jitter, 1.0),
            ("miss_rate", self.miss_rate, 1.0),
            ("false_positives", self.false_positives, 1000.0),
            ("min_visibility", self.min_visibility, 1.0),
            ("seed", self.seed, float("inf")),
        ):
            if not 0 <= value <= most:
                raise ValueError(f"{name} {value} is not within 0 and {most:g}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """N boxes (N, 4) x1, y1, x2, y2 in pixels, float64, inside the picture; scores (N,) 0 to 1, falling."""

    boxes: Boxes
    scores: Scores


def detect(frame: Frame, noise: DetectorNoise) -> Detections:
    """What such a detector finds in a frame: whole people, also the parts that others hide. The same each time."""
    rng = np.random.default_rng((noise.seed, frame.number, *frame.camera.encode()))
    height, width = frame.pixels.shape[:2]
    found = (frame.visibility >= noise.min_visibility) & (rng.random(len(frame.people)) >= noise.miss_rate)
    sizes = frame.boxes[:, 2:] - frame.boxes[:, :2]
    boxes = frame.boxes + noise.jitter * rng.normal(0, 1, (len(frame.people), 4)) * np.tile(sizes, 2)
    scores = 0.35 + 0.6 * frame.visibility + rng.normal(0, 0.05, len(frame.people))
    ghosts = int(rng.poisson(noise.false_positives))
    tall = rng.uniform(0.1, 0.5, ghosts) * height
    left, top = rng.uniform(0, width - tall / 2, ghosts), rng.uniform(0, height - tall, ghosts)
    boxes = np.concatenate([boxes[found], np.stack([left, top, left + tall / 2, top + tall], axis=1)])
    scores = np.clip(np.concatenate([scores[found], rng.uniform(0.2, 0.6, ghosts)]), 0.05, 1.0)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    kept = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
    order = np.flatnonzero(kept)[np.argsort(-scores[kept], kind="stable")]
    return Detections(boxes=boxes[order], scores=scores[order])
