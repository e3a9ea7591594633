"""What a client is told, in plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from reidstream_server.core.faults import FaultReason
from reidstream_server.tracks.rows import Vector
from reidstream_server.tracks.track import Snapshot, TrackEnded


class Outcome(Enum):
    """Of a box."""

    EMBEDDED = "embedded"
    CACHED = "cached"
    FAILED = "failed"
    SOURCE_LOST = "source lost"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxAnswer:
    """`tracked`: whether the server took it for a box of its track; no client is told that."""

    outcome: Outcome
    tracked: bool
    row: Vector | None = None
    quality: float = 0.0
    source_frame_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameAnswer:
    """To one frame."""

    frame_id: int
    fault: FaultReason | None
    boxes: tuple[BoxAnswer, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    tracked_in_vain: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrainMessage:
    """The server leaves."""

    last_accepted: int | None
    open_tracks: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfStream:
    """The call has ended well."""


Told: TypeAlias = FrameAnswer | TrackEnded | DrainMessage | EndOfStream
