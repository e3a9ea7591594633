"""A track of a fake server, and its messages: a snapshot for another server, and its end.

Trap: the newest row lies in the answer that brings a snapshot, so it is left out there; in a request to leave it is
not. Times are kept, and ages made of them when a message goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from reidstream_client.types import TrackEndCause
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2

from .models import FakeModel
from .records import Corners
from .risk import RowSource

Row = npt.NDArray[np.float32]


@dataclass(slots=True, kw_only=True, eq=False)
class FakeTrack:
    """`source`: the frame of its newest row, `latest`. `rows`: those that represent it, by their frames. `number`: of
    the frame with its newest box, `last`. `waiting`: frames of it whose answers were not sent.
    """

    track_id: int
    model: FakeModel | None = None
    last: Corners | None = None
    last_s: float = 0.0
    number: int | None = None
    total: Row | None = None
    count: int = 0
    first_frame_id: int | None = None
    last_frame_id: int | None = None
    latest: Row | None = None
    latest_frame_id: int = 0
    source: RowSource | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)

    def add(self, row: Row, frame_id: int, source: RowSource, *, representatives: int) -> None:
        """A new row of a box of it."""
        self.total = row.copy() if self.total is None else self.total + row
        self.count += 1
        self.latest, self.latest_frame_id, self.source = row, frame_id, source
        if len(self.rows) < representatives:
            self.rows[frame_id] = row

    def answered(self, frame_id: int) -> None:
        """A box of it has a row in the answer to this frame."""
        self.first_frame_id = frame_id if self.first_frame_id is None else self.first_frame_id
        self.last_frame_id = frame_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A track as a client knows it."""

    snapshot: frame_pb2.TrackSnapshot
    latest_s: float
    last_s: float

    @classmethod
    def of(cls, track: FakeTrack) -> Self:
        """As it is now."""
        snapshot = frame_pb2.TrackSnapshot(track_id=track.track_id)
        if track.last is not None:
            x1, y1, x2, y2 = track.last
            snapshot.last_box.CopyFrom(image_pb2.Rect(x1=x1, y1=y1, x2=x2, y2=y2))
        if track.total is not None and track.latest is not None:
            snapshot.sum.CopyFrom(_block([track.total], track.model))
            snapshot.latest.CopyFrom(_block([track.latest], None))
            snapshot.latest_frame_id, snapshot.latest_quality = track.latest_frame_id, 1.0
            snapshot.weight, snapshot.count = float(track.count), track.count
            snapshot.first_frame_id, snapshot.last_frame_id = track.first_frame_id or 0, track.last_frame_id or 0
            if track.rows:
                snapshot.kept.CopyFrom(_block([*track.rows.values()], None))
                snapshot.kept_frame_ids.extend(track.rows)
                snapshot.kept_weights.extend([1.0] * len(track.rows))
        latest_s = track.last_s if track.source is None else track.source.taken_s
        return cls(snapshot=snapshot, latest_s=latest_s, last_s=track.last_s)

    def at(self, now_s: float, *, newest_row: bool = True) -> frame_pb2.TrackSnapshot:
        """The message that goes out now."""
        message = frame_pb2.TrackSnapshot()
        message.CopyFrom(self.snapshot)
        message.last_age_ns = round(max(0.0, now_s - self.last_s) * 1e9)
        if message.count:
            message.latest_age_ns = round(max(0.0, now_s - self.latest_s) * 1e9)
        if not newest_row:
            message.ClearField("latest")
        return message


def adopted(message: frame_pb2.TrackSnapshot, models: Sequence[FakeModel], now_s: float) -> FakeTrack:
    """A track that another server had. Raises LookupError if its space is none of these models'."""
    track = FakeTrack(track_id=message.track_id, last_s=now_s - message.last_age_ns / 1e9)
    if message.HasField("last_box"):
        rect = message.last_box
        track.last = rect.x1, rect.y1, rect.x2, rect.y2
    if message.count:
        track.model = next((one for one in models if one.name == message.sum.model), None)
        if track.model is None or track.model.space_id != message.sum.space_id:
            raise LookupError(f"track {message.track_id} has rows of space {message.sum.space_id}")
        track.total, track.latest = _rows(message.sum)[0], _rows(message.latest)[0]
        track.count, track.latest_frame_id = message.count, message.latest_frame_id
        track.first_frame_id, track.last_frame_id = message.first_frame_id, message.last_frame_id
        track.source = RowSource(number=message.latest_frame_id, taken_s=now_s - message.latest_age_ns / 1e9)
        track.rows = dict(zip(message.kept_frame_ids, _rows(message.kept), strict=True))
    return track


def ended(track: FakeTrack, cause: TrackEndCause) -> session_pb2.TrackEnded:
    """The end of a track."""
    message = session_pb2.TrackEnded(
        cause=session_pb2.TrackEndCause.ValueType(cause.value), representative_frame_ids=track.rows
    )
    snapshot = Told.of(track).snapshot
    for name in ("track_id", "weight", "count", "first_frame_id", "last_frame_id"):
        setattr(message.track, name, getattr(snapshot, name))
    if track.total is not None:
        message.track.sum.CopyFrom(snapshot.sum)
        message.vector.CopyFrom(_block([track.total / np.float32(np.linalg.norm(track.total) or 1)], track.model))
    if track.rows:
        message.representatives.CopyFrom(_block([*track.rows.values()], track.model))
    return message


def _block(rows: Sequence[Row], model: FakeModel | None) -> frame_pb2.EmbeddingBlock:
    """`model`: None where it is that of the sum."""
    block = frame_pb2.EmbeddingBlock(
        dim=len(rows[0]),
        dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT32,
        count=len(rows),
        data=np.array(rows, "<f4").tobytes(),
    )
    if model is not None:
        block.model, block.version, block.space_id = model.name, model.version, model.space_id
    return block


def _rows(block: frame_pb2.EmbeddingBlock) -> list[Row]:
    return [*np.frombuffer(block.data, "<f4").astype(np.float32).reshape(block.count, block.dim)]
