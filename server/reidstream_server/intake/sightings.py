"""Where a frame's boxes are, for its session's tracks: how much they hide of each other, and which track each is of.

Why apart from the plan: only sessions with tracks pay for it, and only boxes that can have a row belong to tracks; but
those that cannot hide others all the same. Trap: what is decided later must not depend on how a number was sent, so
each is rounded as the wire rounds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from reidstream_engines.boxes import Rect
from reidstream_server.tracks.sighting import geometry, sighting, single
from reidstream_server.tracks.track import SightedBox

from .plan import FramePlan

NOWHERE: Rect = (math.nan, math.nan, math.nan, math.nan)
"""Of a box that has no rectangle in the source frame: it hides nothing. Its track sees its size alone."""


@dataclass(slots=True, eq=False)
class Sightings:
    """One item for each box of the frame, in order. Not thread-safe.

    `rects`: in pixels of a picture, `width` x `height` large. `scale`: from these to pixels of the source frame.
    """

    width: float = math.inf
    height: float = math.inf
    scale: tuple[float, float] = (1.0, 1.0)
    rects: list[Rect] = field(default_factory=list)
    track_ids: list[int | None] = field(default_factory=list)

    def add(self, rect: Rect, track_id: int | None) -> None:
        """The next box."""
        self.rects.append(rect)
        self.track_ids.append(track_id)

    def of(self, plan: FramePlan) -> tuple[SightedBox, ...]:
        """The pending boxes that are of tracks. The quality of each pending one is what others leave of it."""
        shares = geometry(self.rects, width=self.width, height=self.height)
        hidden: Sequence[float] = shares.hidden.tolist()
        overlap: Sequence[float] = shares.overlap.tolist()
        scale_x, scale_y = self.scale
        found: list[SightedBox] = []
        for crop in plan.pending:
            index = crop.index
            track_id = self.track_ids[index]
            if track_id is None:
                crop.quality = single(crop.quality * (1.0 - hidden[index]))
                continue
            x1, y1, x2, y2 = self.rects[index]
            if math.isnan(x1):
                x1, y1, x2, y2 = 0.0, 0.0, float(crop.box.width), float(crop.box.height)
            seen = sighting(
                track_id,
                (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y),
                crop_quality=crop.quality,
                overlap=overlap[index],
                hidden=hidden[index],
            )
            crop.quality = seen.quality
            found.append(SightedBox(index=index, model=crop.model, seen=seen))
        return tuple(found)
