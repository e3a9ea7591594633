"""The server's FrameResult as the caller's arrays, checked once, here.

A row goes to the box that the answer names. Anything out of range is a ProtocolFault, since a vector under the wrong
box is worse than none. Trap: a vector that is not finite does not break the protocol, since half precision overflows;
that box alone is FAILED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt

from reidstream_client.errors import ProtocolFault
from reidstream_client.models import AgreedModel
from reidstream_client.types import ErrorReason, FrameEmbeddings, FrameFailure, ModelEmbeddings, Outcome, Timing
from reidstream_proto.v1 import frame_pb2

_OUTCOMES: Final = {outcome.value: outcome for outcome in Outcome if outcome.value > 0}
_REASONS: Final = {reason.value: reason for reason in ErrorReason if reason.value > 0}
_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
_DTYPES: Final[Mapping[int, np.dtype[Any]]] = {
    frame_pb2.EMBEDDING_DTYPE_FLOAT32: np.dtype("<f4"),
    frame_pb2.EMBEDDING_DTYPE_FLOAT16: np.dtype("<f2"),
}


def parse_result(
    message: frame_pb2.FrameResult, *, boxes: int, models: Sequence[AgreedModel], round_trip_s: float | None
) -> FrameEmbeddings:
    """The answer to a frame of `boxes` boxes, in a session of `models`. Raises ProtocolFault.

    One view and one gather per block; nothing else is copied.
    """
    timing = _timing(message.timing, round_trip_s)
    if message.HasField("error"):
        if message.boxes or message.blocks:
            raise _fault(message, "has an error and also boxes")
        return without_vectors(message.frame_id, boxes, models, error=_failure(message.error), timing=timing)
    if len(message.boxes) != boxes:
        raise _fault(message, f"has {len(message.boxes)} boxes, the frame had {boxes}")
    whose = f"the answer to frame {message.frame_id}"
    rows = [block_rows(block, models, whose) for block in message.blocks]
    if len({block.model for block in message.blocks}) != len(rows):
        raise _fault(message, "has two blocks of one model")
    parts = {model.name: _part(model, boxes) for model in models}
    outcomes = [_OUTCOMES.get(box.outcome, Outcome.UNKNOWN) for box in message.boxes]
    for block, its_rows, (at, take) in zip(message.blocks, rows, _places(message, outcomes, rows), strict=True):
        part = parts[block.model]
        part.embeddings[at] = its_rows[take]
        part.valid[at] = np.isfinite(part.embeddings[at]).all(axis=1)
        for index in at:
            if not part.valid[index]:
                part.embeddings[index] = 0
                outcomes[index] = Outcome.FAILED
    valid = np.logical_or.reduce([part.valid for part in parts.values()])
    return FrameEmbeddings(
        frame_id=message.frame_id,
        outcomes=tuple(outcomes),
        valid=valid,
        quality=np.where(valid, np.array([box.quality for box in message.boxes], np.float32), np.float32(0)),
        source_frame_ids=np.array(
            [
                box.source_frame_id if outcome is Outcome.CACHED else message.frame_id
                for box, outcome in zip(message.boxes, outcomes, strict=True)
            ],
            np.uint64,
        ),
        source_ages_s=np.array(
            [
                box.source_age_ns / 1e9 if outcome is Outcome.CACHED else 0.0
                for box, outcome in zip(message.boxes, outcomes, strict=True)
            ]
        ),
        blocks=tuple(parts.values()),
        timing=timing,
    )


def without_vectors(
    frame_id: int,
    boxes: int,
    models: Iterable[AgreedModel],
    *,
    error: FrameFailure | None,
    timing: Timing,
    local: bool = False,
) -> FrameEmbeddings:
    """The answer to a frame that has no vectors: an error, or no boxes."""
    return FrameEmbeddings(
        frame_id=frame_id,
        outcomes=(Outcome.FRAME_FAILED,) * boxes,
        valid=np.zeros(boxes, np.bool_),
        quality=np.zeros(boxes, np.float32),
        source_frame_ids=np.full(boxes, frame_id, np.uint64),
        source_ages_s=np.zeros(boxes),
        blocks=tuple(_part(model, boxes) for model in models),
        timing=timing,
        error=error,
        local=local,
    )


def answering_models(message: frame_pb2.FrameResult) -> dict[str, AgreedModel]:
    """The models that an answer names, by name."""
    return {
        block.model: AgreedModel(name=block.model, version=block.version, dim=block.dim, space_id=block.space_id)
        for block in message.blocks
    }


def _part(model: AgreedModel, boxes: int) -> ModelEmbeddings:
    return ModelEmbeddings(
        model=model, embeddings=np.zeros((boxes, model.dim), np.float32), valid=np.zeros(boxes, np.bool_)
    )


def _places(
    message: frame_pb2.FrameResult, outcomes: Sequence[Outcome], rows: Sequence[npt.NDArray[Any]]
) -> list[tuple[list[int], list[int]]]:
    """For each block, the boxes that have a vector in it, and the rows of these."""
    places: list[tuple[list[int], list[int]]] = [([], []) for _ in rows]
    for index, (box, outcome) in enumerate(zip(message.boxes, outcomes, strict=True)):
        if outcome not in {Outcome.EMBEDDED, Outcome.CACHED}:
            continue
        if not (box.HasField("block") and box.HasField("row")):
            raise _fault(message, f"names no row for box {index}, which is {outcome.name}")
        if box.block >= len(rows) or box.row >= len(rows[box.block]):
            raise _fault(message, f"names row {box.row} of block {box.block} for box {index}; there is no such row")
        at, take = places[box.block]
        at.append(index)
        take.append(box.row)
    return places


def block_rows(block: frame_pb2.EmbeddingBlock, models: Sequence[AgreedModel], whose: str) -> npt.NDArray[Any]:
    """A view of the block's rows, (count, dim). `whose`: of the message that it came with, in words."""
    model = next((model for model in models if model.name == block.model), None)
    if model is None:
        raise ProtocolFault(f"{whose} comes from model {block.model!r}, which was not agreed")
    if (block.dim, block.space_id) != (model.dim, model.space_id):
        raise ProtocolFault(
            f"{whose} comes from space {block.space_id!r} with {block.dim} numbers; "
            f"agreed were {model.space_id!r} and {model.dim}"
        )
    dtype = _DTYPES.get(block.dtype)
    if dtype is None:
        raise ProtocolFault(f"{whose} has numbers of an unknown type, {block.dtype}")
    if len(block.data) != block.count * block.dim * dtype.itemsize:
        raise ProtocolFault(f"{whose} holds {len(block.data)} bytes for {block.count} rows of {block.dim} {dtype.name}")
    return np.frombuffer(block.data, dtype).reshape(block.count, block.dim)


def _failure(error: frame_pb2.FrameError) -> FrameFailure:
    return FrameFailure(
        code=_CODES.get(error.code, grpc.StatusCode.UNKNOWN),
        reason=_REASONS.get(error.reason, ErrorReason.UNKNOWN),
        message=error.message,
        retry_after_s=error.retry_after_ms / 1000 if error.HasField("retry_after_ms") else None,
    )


def _timing(timing: frame_pb2.Timing, round_trip_s: float | None) -> Timing:
    return Timing(
        decoded_s=_seconds(timing.decoded_ns),
        first_batch_started_s=_seconds(timing.first_batch_started_ns),
        last_batch_ended_s=_seconds(timing.last_batch_ended_ns),
        sent_s=_seconds(timing.sent_ns),
        round_trip_s=round_trip_s,
        batch_sizes=tuple(timing.batch_sizes),
    )


def _seconds(ns: int) -> float | None:
    return ns / 1e9 if ns else None


def _fault(message: frame_pb2.FrameResult, what: str) -> ProtocolFault:
    return ProtocolFault(f"the answer to frame {message.frame_id} {what}")
