"""IDF1: how much of the time each person has the same identity.

The definition is that of Ristani et al., "Performance measures and a data set for multi-target, multi-camera tracking"
(ECCV Workshops 2016), with the MOT benchmark's bound: a box and a true box match if their intersection over union is at
least 0.5. Each true identity is paired with at most one given identity, so that the most boxes match in all:

    IDF1 = 2 x matching boxes / (true boxes + given boxes)

Several clips are pooled: the three counts are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .assignment import Doubles, assign

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """What was counted of one clip, or of several."""

    matching: int
    true: int
    given: int

    @property
    def idf1(self) -> float:
        """0 to 1."""
        return 2 * self.matching / max(self.true + self.given, 1)

    @classmethod
    def pooled(cls, clips: Sequence[Identities]) -> Identities:
        """Of all clips together."""
        return cls(
            matching=sum(clip.matching for clip in clips),
            true=sum(clip.true for clip in clips),
            given=sum(clip.given for clip in clips),
        )


Named = Mapping[int, Sequence[float]]
"""The boxes of one frame, x1, y1, x2, y2, by identity."""


def identities(truth: Sequence[Named], given: Sequence[Named]) -> Identities:
    """Compare the boxes of each frame."""
    true_ids = {name: index for index, name in enumerate(sorted({name for frame in truth for name in frame}))}
    given_ids = {name: index for index, name in enumerate(sorted({name for frame in given for name in frame}))}
    matches = np.zeros((len(true_ids), len(given_ids)))
    for true_frame, given_frame in zip(truth, given, strict=True):
        if true_frame and given_frame:
            found = iou(boxes_of(true_frame), boxes_of(given_frame)) >= MIN_IOU
            rows = [true_ids[name] for name in true_frame]
            columns = [given_ids[name] for name in given_frame]
            matches[np.ix_(rows, columns)] += found
    return Identities(
        matching=int(sum(matches[row, column] for row, column in assign(-matches))),
        true=sum(map(len, truth)),
        given=sum(map(len, given)),
    )


def boxes_of(frame: Named) -> Doubles:
    """(n, 4)."""
    return np.array(list(frame.values()), np.float64).reshape(-1, 4)


def iou(some: Doubles, others: Doubles) -> Doubles:
    """(n, m): intersection over union of boxes (n, 4) and (m, 4)."""
    sides = np.minimum(some[:, None, 2:], others[None, :, 2:]) - np.maximum(some[:, None, :2], others[None, :, :2])
    common = np.prod(np.maximum(sides, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-12), np.float64)
