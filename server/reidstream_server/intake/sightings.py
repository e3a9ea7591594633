"""Where a frame's boxes are, for its session's tracks: how much they hide of each other, and which track each is of.

Why apart from the plan: only sessions with tracks pay for it, and only boxes that can have a row belong to tracks; but
those that cannot hide others all the same. All boxes at once: this runs for each frame, also if it is all cached. Trap:
what is decided later must not depend on how a number was sent, so each is rounded as the wire rounds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from reidstream_engines.boxes import Rect
from reidstream_server.tracks.sighting import Sighting, geometry, single
from reidstream_server.tracks.track import SightedBox

from .plan import FramePlan, PendingCrop

_AS_IT_IS: Final = (1.0, 1.0)

NOWHERE: Rect = (math.nan, math.nan, math.nan, math.nan)
"""Of a box that has no rectangle in the source frame: it hides nothing. Its track sees its size alone."""


@dataclass(slots=True, eq=False)
class Sightings:
    """One item for each box of the frame, in order. Not thread-safe.

    `rects`: in pixels of a picture, `width` x `height` large. `scale`: from these to pixels of the source frame.
    """

    width: float = math.inf
    height: float = math.inf
    scale: tuple[float, float] = _AS_IT_IS
    rects: list[Rect] = field(default_factory=list)
    track_ids: list[int | None] = field(default_factory=list)

    def of(self, plan: FramePlan) -> tuple[SightedBox, ...]:
        """The pending boxes that are of tracks. The quality of each pending one is what others leave of it."""
        if not plan.pending:
            return ()
        shares = geometry(self.rects, width=self.width, height=self.height)
        overlap: Sequence[float] = shares.overlap.tolist()
        left = 1.0 - shares.hidden[[crop.index for crop in plan.pending]]
        quality = np.array([crop.quality for crop in plan.pending]) * left
        found: list[SightedBox] = []
        for crop, good in zip(plan.pending, quality.astype(np.float32).tolist(), strict=True):
            index, crop.quality = crop.index, good
            track_id = self.track_ids[index]
            if track_id is not None:
                seen = Sighting(track_id=track_id, rect=self._rect(crop), quality=good, overlap=overlap[index])
                found.append(SightedBox(index=index, model=crop.model, seen=seen))
        return tuple(found)

    def _rect(self, crop: PendingCrop) -> Rect:
        """In pixels of the source frame, rounded; as it came, it is."""
        x1, y1, x2, y2 = self.rects[crop.index]
        if math.isnan(x1):
            return (0.0, 0.0, float(crop.box.width), float(crop.box.height))
        if self.scale == _AS_IT_IS:
            return (x1, y1, x2, y2)
        scale_x, scale_y = self.scale
        return (single(x1 * scale_x), single(y1 * scale_y), single(x2 * scale_x), single(y2 * scale_y))
