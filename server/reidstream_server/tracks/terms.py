"""What a session agreed on for its tracks: when a box is embedded, how a track's vector is made, when a track ends.

All times are nanoseconds. Trap: the defaults of OnRisk were chosen by measurement (docs/tracks.md says how); change
them only with new figures. They are promised to nobody: SessionOpened tells each client which ones hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """Every box is embedded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtIntervals:
    """A box is embedded when its track's newest row is so many frames, or so long, old. At least one is not None.

    `frames`: at least 1, counted as frames come, whether they hold the track or not. `interval_ns`: at least 1.
    """

    frames: int | None = None
    interval_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnRisk:
    """A box is embedded when its row may teach something, or when its track id may be wrong (see `policy`).

    `max_overlap`: 0 to 1. `max_size_ratio`: at least 1. `max_shift`: above 0, in widths or heights of the last box.
    `min_quality_gain`: 0 to 1. `max_age_ns`: at least 1.
    """

    max_overlap: float = 0.5
    max_size_ratio: float = 2.0
    max_shift: float = 1.0
    min_quality_gain: float = 0.1
    max_age_ns: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Once:
    """Only the first box of a track is embedded."""


EmbedPolicy: TypeAlias = EveryFrame | AtIntervals | OnRisk | Once
"""When a box of a track is embedded. The first box of a track always is."""


class TrackVector(Enum):
    """How a track's vector is made of its rows (see `rows`)."""

    ROBUST = "robust"
    MEAN = "mean"


MAX_REPRESENTATIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTerms:
    """`timeout_ns`: a track without a box for so long ends. `representatives`: 0 to 3 rows that its end tells.

    `snapshots`: answers carry snapshots of the tracks that have a new row in them.
    """

    timeout_ns: int
    policy: EmbedPolicy = EveryFrame()
    vector: TrackVector = TrackVector.ROBUST
    representatives: int = 0
    snapshots: bool = False
