"""What a call agreed on, as the runtime needs it.

These are the core's terms, and how the call's boxes are routed, filtered and answered. Trap: it holds the models that
were agreed on, so a model that is replaced meanwhile changes nothing for this call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from reidstream_server.core.terms import SessionTerms
from reidstream_server.tracks.terms import TrackTerms

from .models import Routes


class AnswerDtype(Enum):
    """How embeddings are written; the values are numpy's names, little-endian."""

    FLOAT32 = "<f4"
    FLOAT16 = "<f2"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFilter:
    """Which boxes to leave alone. Sizes in pixels of the source frame; None and empty do not filter."""

    min_width: float | None = None
    min_height: float | None = None
    max_width: float | None = None
    max_height: float | None = None
    min_score: float | None = None
    class_ids: frozenset[int] = frozenset()

    def passes(self, *, width: float, height: float, class_id: int | None, score: float | None) -> bool:
        """Whether a box of this size (source pixels), class and score is wanted."""
        return (
            (self.min_width is None or width >= self.min_width)
            and (self.min_height is None or height >= self.min_height)
            and (self.max_width is None or width <= self.max_width)
            and (self.max_height is None or height <= self.max_height)
            and (self.min_score is None or score is None or score >= self.min_score)
            and (not self.class_ids or class_id in self.class_ids)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One call's terms. `box_filter` is None where nothing is filtered. `upright`: pictures are turned as their EXIF
    says, and boxes lie in the turned pictures. `tracks`: None where track ids are ignored.
    """

    terms: SessionTerms
    routes: Routes
    box_filter: BoxFilter | None
    dtype: AnswerDtype
    upright: bool = False
    tracks: TrackTerms | None = None
