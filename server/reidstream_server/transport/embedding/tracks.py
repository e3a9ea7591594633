"""Tracks on the wire: snapshots, in answers and in Drain, and ends.

Rows are float32 whatever the session's dtype: they are those that were answered, so nothing is lost. Trap: ages count
back from the moment when a message is made, which is when it is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from reidstream_engines.protocol import Embeddings
from reidstream_engines.spec import ModelSpec
from reidstream_proto.v1 import frame_pb2, image_pb2, session_pb2
from reidstream_server.runtime.agreement import Agreement
from reidstream_server.tracks.track import Snapshot, TrackEndCause, TrackEnded

_CAUSES: Mapping[TrackEndCause, session_pb2.TrackEndCause.ValueType] = {
    TrackEndCause.CLIENT: session_pb2.TRACK_END_CAUSE_CLIENT,
    TrackEndCause.TIMEOUT: session_pb2.TRACK_END_CAUSE_TIMEOUT,
    TrackEndCause.SESSION: session_pb2.TRACK_END_CAUSE_SESSION,
    TrackEndCause.EVICTED: session_pb2.TRACK_END_CAUSE_EVICTED,
    TrackEndCause.MODEL_CHANGED: session_pb2.TRACK_END_CAUSE_MODEL_CHANGED,
}


def snapshot(track: Snapshot, agreement: Agreement, *, with_latest: bool = True) -> frame_pb2.TrackSnapshot:
    """A track. `with_latest`: not in an answer that has the row already."""
    message = frame_pb2.TrackSnapshot(track_id=track.track_id)
    now = time.monotonic_ns()
    if track.last is not None:
        x1, y1, x2, y2 = track.last.rect
        message.last_box.CopyFrom(image_pb2.Rect(x1=x1, y1=y1, x2=x2, y2=y2))
        message.last_age_ns = max(0, now - track.last.taken_ns)
    rows = track.rows
    if rows is None:
        return message
    spec, latest = agreement.routes.models[rows.model].spec, rows.latest
    message.sum.CopyFrom(_block([rows.total], spec))
    message.weight, message.count = rows.weight, rows.count
    message.first_frame_id, message.last_frame_id = rows.first_frame_id, rows.last_frame_id
    message.latest_frame_id, message.latest_quality = latest.frame_id, latest.quality
    message.latest_age_ns = max(0, now - latest.taken_ns)
    if with_latest:
        message.latest.CopyFrom(_block([latest.vector]))
    message.kept.CopyFrom(_block([row.vector for row in rows.kept]))
    message.kept_frame_ids.extend(row.frame_id for row in rows.kept)
    message.kept_weights.extend(row.weight for row in rows.kept)
    return message


def track_ended(event: TrackEnded, agreement: Agreement) -> session_pb2.TrackEnded:
    """A track's end, with its vector and its representatives."""
    told = event.track.snapshot()
    message = session_pb2.TrackEnded(track=snapshot(told, agreement), cause=_CAUSES[event.cause])
    vector = event.vector()
    if told.rows is None or vector is None or agreement.tracks is None:
        return message
    spec = agreement.routes.models[told.rows.model].spec
    message.vector.CopyFrom(_block([vector], spec))
    rows = event.representatives(agreement.tracks.representatives)
    if rows:
        message.representatives.CopyFrom(_block([row.vector for row in rows], spec))
        message.representative_frame_ids.extend(row.frame_id for row in rows)
    return message


def _block(rows: Sequence[Embeddings], spec: ModelSpec | None = None) -> frame_pb2.EmbeddingBlock:
    """Rows (dim,). Without `spec`: of the same model as the block of the sum beside it."""
    block = frame_pb2.EmbeddingBlock(
        dim=len(rows[0]),
        dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT32,
        count=len(rows),
        data=np.asarray(rows, "<f4").tobytes(),
    )
    if spec is not None:
        block.model, block.version, block.space_id = spec.name, spec.version, spec.space_id
    return block
