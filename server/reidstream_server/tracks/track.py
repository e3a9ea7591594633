"""One track: what its boxes were when they came, what their answers brought, and what another server needs of it.

Two times run beside each other. What is decided about a box follows from the boxes that came before it (`came`); what
a client is told follows from the frames that were answered (`told`). Between the two are the frames in flight.

Trap: a snapshot must not change any more, though the track goes on. Rows are never written to after they were taken;
the sum is, so a snapshot has a copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from reidstream_server.core.terms import ModelIndex

from .policy import RowSource
from .rows import KeptRow, TrackRow, TrackRows, Vector
from .sighting import Rect, Sighting


class TrackEndCause(Enum):
    """Why a track has ended. The values are metric labels, and names in the contract."""

    CLIENT = "client"
    TIMEOUT = "timeout"
    SESSION = "session"
    EVICTED = "evicted"
    MODEL_CHANGED = "model_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastBox:
    """A box of a track: where it was, and when its frame was taken."""

    rect: Rect
    taken_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sum:
    """The rows of a track together, by `model`. `total`: (dim,), each row times its weight. `latest`: the newest row.

    `first_frame_id`, `last_frame_id`: the frames in which a box of the track had a row, embedded or cached.
    """

    model: ModelIndex
    total: Vector
    weight: float
    count: int
    latest: TrackRow
    kept: tuple[KeptRow, ...]
    first_frame_id: int
    last_frame_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """A track, as far as its frames were answered. `rows`: None while it has none. `last`: its newest box, if known."""

    track_id: int
    rows: Sum | None
    last: LastBox | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SightedBox:
    """A box with a track id that can have a row of `model`. `index`: among the boxes of its frame."""

    index: int
    model: ModelIndex
    seen: Sighting


@dataclass(slots=True, eq=False, kw_only=True)
class Track:
    """`model`: None while no box of it has come here. `number`: of the frame with its newest box. `came_ns`: when that
    came, by the server's clock; `last`: the box itself. `source`: of the newest row, which may be on its way; None: its
    next box is embedded. `in_flight`: frames with a box of it that are not answered. `cause`: it has ended.

    `told`: whether a frame with a box of it was answered, here or elsewhere; `told_last`: the newest such box.
    """

    track_id: int
    bytes: int
    came_ns: int
    model: ModelIndex | None = None
    number: int | None = None
    last: LastBox | None = None
    source: RowSource | None = None
    in_flight: int = 0
    cause: TrackEndCause | None = None
    rows: TrackRows | None = None
    first_frame_id: int | None = None
    last_frame_id: int | None = None
    told: bool = False
    told_last: LastBox | None = None

    def has_row(self, frame_id: int) -> None:
        """A box of it has a row in the answer of this frame."""
        if self.first_frame_id is None:
            self.first_frame_id = frame_id
        self.last_frame_id = frame_id

    def snapshot(self) -> Snapshot:
        """As its answers have told it so far."""
        rows, latest = self.rows, None if self.rows is None else self.rows.latest
        told: Sum | None = None
        if rows is not None and latest is not None and self.model is not None:
            told = Sum(
                model=self.model,
                total=rows.total.copy(),
                weight=rows.weight,
                count=rows.count,
                latest=latest,
                kept=rows.kept,
                first_frame_id=self.first_frame_id or 0,
                last_frame_id=self.last_frame_id or 0,
            )
        return Snapshot(track_id=self.track_id, rows=told, last=self.told_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedBox:
    """A box that belongs to a track. `source`: of the row that it will bring; None: it gets the track's newest row."""

    index: int
    track: Track
    last: LastBox
    source: RowSource | None


@dataclass(slots=True, eq=False, kw_only=True)
class FrameTracks:
    """What was decided about a frame. `held_bytes`: taken for its answer. `snapshots`: what its answer tells."""

    frame_id: int
    taken_ns: int
    boxes: tuple[TrackedBox, ...]
    held_bytes: int = 0
    snapshots: tuple[Snapshot, ...] = ()

    @property
    def cached(self) -> frozenset[int]:
        """The boxes that are answered with rows of their tracks."""
        return frozenset(box.index for box in self.boxes if box.source is None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackEnded:
    """A track is over. Its room is held until this is written. Nothing of the track changes any more."""

    track: Track
    cause: TrackEndCause

    def vector(self) -> Vector | None:
        """The track's vector (dim,); None if it never got a row."""
        rows = self.track.rows
        return None if rows is None or rows.latest is None else rows.vector()

    def representatives(self, most: int) -> tuple[KeptRow, ...]:
        """Its best row, and those that differ from it most."""
        return () if self.track.rows is None else self.track.rows.representatives(most)


def rows_of(known: Sum, rows: TrackRows) -> TrackRows:
    """The rows of a track that another server had, in arrays of their own. `rows`: empty ones of this session."""
    rows.total = np.array(known.total, np.float32)
    rows.weight, rows.count, rows.latest, rows.kept = known.weight, known.count, known.latest, known.kept
    return rows
