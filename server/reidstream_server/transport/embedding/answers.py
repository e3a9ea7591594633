"""Answers on the wire: a job and its outcomes become a FrameResult.

One copy per vector block: rows lie in the job as the engine answered them, and go into the message as bytes. Trap:
rows of crops that have no embedding are left out, and cached rows come in between, so a block's rows are counted anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypedDict, assert_never

import numpy as np

from reidstream_engines.protocol import Embeddings
from reidstream_proto.v1 import frame_pb2, model_pb2, session_pb2
from reidstream_server.core.effects import FrameTimes, SendDrain
from reidstream_server.core.faults import CropOutcome, FaultReason, FrameFault
from reidstream_server.core.terms import DrainReason, ModelIndex, Ordering, OverloadPolicy, Priority
from reidstream_server.runtime.agreement import Agreement, AnswerDtype
from reidstream_server.runtime.job import BoxRefusal, CachedRow, FrameJob
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer
from reidstream_server.transport.status import FRAMES

from .track_options import track_options
from .tracks import snapshot

_REFUSED: Mapping[BoxRefusal, frame_pb2.Outcome.ValueType] = {
    BoxRefusal.TOO_SMALL: frame_pb2.OUTCOME_TOO_SMALL,
    BoxRefusal.OUTSIDE_FRAME: frame_pb2.OUTCOME_OUTSIDE_FRAME,
    BoxRefusal.INVALID_BOX: frame_pb2.OUTCOME_INVALID_BOX,
    BoxRefusal.FILTERED: frame_pb2.OUTCOME_FILTERED,
    BoxRefusal.NO_MODEL: frame_pb2.OUTCOME_NO_MODEL,
    BoxRefusal.INVALID_IMAGE: frame_pb2.OUTCOME_INVALID_IMAGE,
    BoxRefusal.SOURCE_LOST: frame_pb2.OUTCOME_SOURCE_LOST,
}
_CROPS: Mapping[CropOutcome, frame_pb2.Outcome.ValueType] = {
    CropOutcome.EMBEDDED: frame_pb2.OUTCOME_EMBEDDED,
    CropOutcome.INVALID_IMAGE: frame_pb2.OUTCOME_INVALID_IMAGE,
    CropOutcome.FAILED: frame_pb2.OUTCOME_FAILED,
}
_REASONS: Mapping[FaultReason, frame_pb2.ErrorReason.ValueType] = {
    reason: frame_pb2.ErrorReason.Value(f"ERROR_REASON_{reason.name}") for reason in FaultReason
}
_DTYPES: Mapping[AnswerDtype, frame_pb2.EmbeddingDtype.ValueType] = {
    AnswerDtype.FLOAT32: frame_pb2.EMBEDDING_DTYPE_FLOAT32,
    AnswerDtype.FLOAT16: frame_pb2.EMBEDDING_DTYPE_FLOAT16,
}
_PRIORITIES: Mapping[Priority, session_pb2.Priority.ValueType] = {
    Priority.LOW: session_pb2.PRIORITY_LOW,
    Priority.NORMAL: session_pb2.PRIORITY_NORMAL,
    Priority.HIGH: session_pb2.PRIORITY_HIGH,
}
_ORDERINGS: Mapping[Ordering, session_pb2.Ordering.ValueType] = {
    Ordering.IN_ORDER: session_pb2.ORDERING_IN_ORDER,
    Ordering.AS_COMPLETED: session_pb2.ORDERING_AS_COMPLETED,
}
_POLICIES: Mapping[OverloadPolicy, session_pb2.OverloadPolicy.ValueType] = {
    OverloadPolicy.WAIT: session_pb2.OVERLOAD_POLICY_WAIT,
    OverloadPolicy.DROP_OLDEST: session_pb2.OVERLOAD_POLICY_DROP_OLDEST,
    OverloadPolicy.REJECT: session_pb2.OVERLOAD_POLICY_REJECT,
}
_DRAINS: Mapping[DrainReason, session_pb2.DrainReason.ValueType] = {
    DrainReason.SHUTDOWN: session_pb2.DRAIN_REASON_SHUTDOWN,
    DrainReason.CONNECTION_AGE: session_pb2.DRAIN_REASON_CONNECTION_AGE,
    DrainReason.IDLE: session_pb2.DRAIN_REASON_IDLE,
}


class BlockFields(TypedDict):
    """What an EmbeddingBlock says, by its fields."""

    model: str
    version: str
    space_id: str
    dim: int
    dtype: frame_pb2.EmbeddingDtype.ValueType
    count: int
    data: bytes


def frame_result(answer: JobAnswer) -> frame_pb2.FrameResult:
    """The answer to one frame."""
    result = frame_pb2.FrameResult(frame_id=answer.frame_id, timing=_timing(answer.times))
    if answer.fault is not None:
        result.error.CopyFrom(frame_error(answer.fault))
    elif answer.payload is not None:
        job = answer.payload
        _add_boxes(result, job, answer.outcomes)
        if job.tracks is not None:
            result.tracks.extend(snapshot(one, job.agreement, with_latest=False) for one in job.tracks.snapshots)
    return result


def frame_error(fault: FrameFault) -> frame_pb2.FrameError:
    """A frame's fault."""
    code: int = FRAMES[fault.reason].grpc.value[0]
    return frame_pb2.FrameError(
        code=code, reason=_REASONS[fault.reason], message=fault.message, retry_after_ms=fault.retry_after_ms
    )


def _add_boxes(result: frame_pb2.FrameResult, job: FrameJob, outcomes: Sequence[CropOutcome]) -> None:
    kept: dict[ModelIndex, list[int]] = {}  # the rows of each model's block, in the order of the blocks
    blocks: dict[ModelIndex, int] = {}
    cached: dict[ModelIndex, list[Embeddings]] = {}  # behind the job's own rows
    for fate in job.fates:
        match fate:
            case int():
                if (outcome := outcomes[fate]) is not CropOutcome.EMBEDDED:
                    result.boxes.add(outcome=_CROPS[outcome])
                    continue
                crop = job.crops[fate]
                rows = kept.setdefault(crop.model, [])
                result.boxes.add(
                    outcome=frame_pb2.OUTCOME_EMBEDDED,
                    block=blocks.setdefault(crop.model, len(blocks)),
                    row=len(rows),
                    quality=crop.quality,
                )
                rows.append(crop.row)
            case BoxRefusal():
                result.boxes.add(outcome=_REFUSED[fate])
            case CachedRow():
                rows = kept.setdefault(fate.model, [])
                result.boxes.add(
                    outcome=frame_pb2.OUTCOME_CACHED,
                    block=blocks.setdefault(fate.model, len(blocks)),
                    row=len(rows),
                    quality=fate.quality,
                    source_frame_id=fate.source_frame_id,
                    source_age_ns=fate.source_age_ns,
                )
                known = cached.setdefault(fate.model, [])
                rows.append(len(job.vectors.get(fate.model, ())) + len(known))
                known.append(fate.vector)
            case _:
                assert_never(fate)
    models = job.agreement.routes.models
    for model, rows in kept.items():
        vectors = job.vectors[model] if model not in cached else _with_cached(job.vectors.get(model), cached[model])
        chosen = vectors if len(rows) == len(vectors) and model not in cached else vectors[rows]
        result.blocks.add(**_block_fields(models[model], chosen, job.agreement.dtype))


def _with_cached(embedded: Embeddings | None, cached: Sequence[Embeddings]) -> Embeddings:
    """A model's rows (n, dim): those that were embedded now, and behind them those that were known."""
    known = np.stack(cached)
    return known if embedded is None else np.concatenate([embedded, known])


def _block_fields(model: ServedModel, rows: Embeddings, dtype: AnswerDtype) -> BlockFields:
    """Of an EmbeddingBlock: a message that is made first, and then put into another one, is copied once more."""
    spec = model.spec
    return BlockFields(
        model=spec.name,
        version=spec.version,
        space_id=spec.space_id,
        dim=spec.output.dim,
        dtype=_DTYPES[dtype],
        count=len(rows),
        data=np.asarray(rows, dtype=dtype.value).tobytes(),
    )


def _timing(times: FrameTimes) -> frame_pb2.Timing:
    arrived = times.arrived_ns
    return frame_pb2.Timing(
        decoded_ns=_since(arrived, times.decoded_ns),
        first_batch_started_ns=_since(arrived, times.first_batch_ns),
        last_batch_ended_ns=_since(arrived, times.last_batch_ns),
        sent_ns=time.monotonic_ns() - arrived,
        batch_sizes=times.batch_sizes,
    )


def _since(arrived_ns: int, at_ns: int) -> int:
    return at_ns - arrived_ns if at_ns else 0


def session_opened(
    message: session_pb2.SessionOpen, agreement: Agreement, limits: model_pb2.Limits
) -> session_pb2.SessionOpened:
    """What was agreed."""
    terms = agreement.terms
    opened = session_pb2.SessionOpened(
        session_id=message.session_id,
        epoch=message.epoch,
        window=session_pb2.Window(frames=terms.window.frames, bytes=terms.window.bytes),
        limits=limits,
        priority=_PRIORITIES[terms.priority],
        ordering=_ORDERINGS[terms.ordering],
        overload_policy=_POLICIES[terms.overload_policy],
        dtype=_DTYPES[agreement.dtype],
        takes_close=True,
        apply_exif_orientation=agreement.upright,
        track_options=None if agreement.tracks is None else track_options(agreement.tracks),
    )
    if terms.latency_budget_ns is not None:
        opened.latency_budget_ms = terms.latency_budget_ns // 1_000_000
    for index, class_ids in agreement.routes.choices:
        spec = agreement.routes.models[index].spec
        opened.models.add(
            name=spec.name, version=spec.version, dim=spec.output.dim, space_id=spec.space_id, class_ids=class_ids
        )
    return opened


def drain(effect: SendDrain) -> session_pb2.Drain:
    """The request to leave."""
    left_ms = max(0, (effect.deadline_ns - time.monotonic_ns()) // 1_000_000)
    return session_pb2.Drain(
        last_accepted_frame_id=effect.last_accepted_frame_id, deadline_ms=left_ms, reason=_DRAINS[effect.reason]
    )
