"""A TrackEnded of the server as the caller's arrays, checked once, here.

Trap: its sum is of the weighted rows and not normalised. What is compared with other vectors is `vector`, which the
server makes of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from reidstream_client.errors import ProtocolFault
from reidstream_client.models import AgreedModel
from reidstream_client.types import Embeddings, TrackEndCause, TrackEnded
from reidstream_proto.v1 import frame_pb2, session_pb2

from .results import block_rows

_CAUSES: Final = {cause.value: cause for cause in TrackEndCause if cause.value > 0}


def parse_track_ended(message: session_pb2.TrackEnded, models: Sequence[AgreedModel]) -> TrackEnded:
    """The end of a track, in a session of `models`. Raises ProtocolFault. The arrays are the caller's."""
    track = message.track
    whose = f"the end of track {track.track_id}"
    ids = np.array(message.representative_frame_ids, np.uint64)
    model, total, vector = None, None, None
    representatives: Embeddings = np.zeros((0, 0), np.float32)
    if track.count:
        model = next((model for model in models if model.name == track.sum.model), None)
        total, vector = one_row(track.sum, models, f"{whose}: its sum"), one_row(message.vector, models, whose)
        if message.vector.model != track.sum.model:
            raise ProtocolFault(f"{whose} has a vector of model {message.vector.model!r}, not of {track.sum.model!r}")
        representatives = np.zeros((0, len(vector)), np.float32)
        if message.HasField("representatives"):
            representatives = np.array(block_rows(message.representatives, models, whose), np.float32)
    elif message.HasField("vector") or track.HasField("sum"):
        raise ProtocolFault(f"{whose} has a vector of no rows")
    if len(ids) != len(representatives):
        raise ProtocolFault(f"{whose} names {len(ids)} frames for {len(representatives)} representatives")
    return TrackEnded(
        track_id=track.track_id,
        cause=_CAUSES.get(message.cause, TrackEndCause.UNKNOWN),
        first_frame_id=track.first_frame_id,
        last_frame_id=track.last_frame_id,
        count=track.count,
        weight=track.weight,
        model=model,
        vector=vector,
        total=total,
        representatives=representatives,
        representative_frame_ids=ids,
    )


def one_row(block: frame_pb2.EmbeddingBlock, models: Sequence[AgreedModel], whose: str) -> Embeddings:
    """The only row (dim,) of a block. Raises ProtocolFault."""
    rows = block_rows(block, models, whose)
    if len(rows) != 1:
        raise ProtocolFault(f"{whose} has {len(rows)} rows, and should have one")
    row: Embeddings = np.array(rows[0], np.float32)
    return row
