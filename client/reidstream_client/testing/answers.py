"""A fake server's answers: what becomes of each box, and the FrameResult that says so.

Boxes are judged as a server judges them: a model that takes the class, a rectangle that lies in the picture, the
client's filter. Trap: pictures are not judged, so that a test may send `b"a file"`; and where the header of a file says
no size, none of its boxes is outside or too small.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt

from reidstream_client.choices import BoxFilter, EmbeddingDtype, ModelChoice
from reidstream_client.types import ErrorReason, Outcome
from reidstream_proto.v1 import frame_pb2

from .models import FakeModel
from .records import Corners, ReceivedBox, ReceivedFrame
from .tracks import TrackedFrame

Embed: TypeAlias = Callable[[ReceivedFrame, ReceivedBox], "npt.ArrayLike | Outcome"]
"""A fake server's answer to a box: a vector, or why there is none."""

MIN_BOX_PX: Final = 1
_NOT_OF_A_BOX: Final = frozenset({Outcome.EMBEDDED, Outcome.CACHED, Outcome.UNKNOWN, Outcome.FRAME_FAILED})
_NUMBERS: Final[Mapping[EmbeddingDtype, str]] = {EmbeddingDtype.FLOAT32: "<f4", EmbeddingDtype.FLOAT16: "<f2"}
_NOTHING_DONE: Final = frame_pb2.Timing(sent_ns=1_000_000)
_EMBEDDED: Final = frame_pb2.Timing(
    decoded_ns=1_000_000, first_batch_started_ns=2_000_000, last_batch_ended_ns=3_000_000, sent_ns=4_000_000
)
_BAD_REQUEST, _BUSY, _GONE = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
)
STATUS_OF_REASON: Final[Mapping[ErrorReason, grpc.StatusCode]] = {
    ErrorReason.INVALID_FRAME_ID: _BAD_REQUEST,
    ErrorReason.INVALID_IMAGE: _BAD_REQUEST,
    ErrorReason.UNSUPPORTED_IMAGE: _BAD_REQUEST,
    ErrorReason.IMAGE_TOO_LARGE: _BAD_REQUEST,
    ErrorReason.TOO_MANY_BOXES: _BAD_REQUEST,
    ErrorReason.ANSWER_TOO_LARGE: _BAD_REQUEST,
    ErrorReason.INVALID_ARGUMENT: _BAD_REQUEST,
    ErrorReason.DROPPED: _BUSY,
    ErrorReason.WINDOW_FULL: _BUSY,
    ErrorReason.QUEUE_FULL: _BUSY,
    ErrorReason.OVER_BUDGET: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorReason.ENGINE_LOST: _GONE,
    ErrorReason.SHUTTING_DOWN: _GONE,
    ErrorReason.STAGING_TIMEOUT: _BAD_REQUEST,
    ErrorReason.INTERNAL: grpc.StatusCode.INTERNAL,
}


def unit_vector(box: ReceivedBox, dim: int) -> npt.NDArray[np.float64]:
    """(dim,) of length 1, the same for the same picture and box, in any frame and any run."""
    said = repr((box.image.width, box.image.height, None if box.is_crop else box.xyxy, box.inner_xyxy))
    digest = hashlib.sha256(box.image.data + said.encode()).digest()
    vector: npt.NDArray[np.float64] = np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(dim)
    return vector / np.linalg.norm(vector)


def failure(frame_id: int, reason: ErrorReason, message: str, retry_after_s: float | None) -> frame_pb2.FrameResult:
    """A frame's error, with the status that the contract has for its reason."""
    error = frame_pb2.FrameError(
        code=STATUS_OF_REASON[reason].value[0],
        reason=frame_pb2.ErrorReason.ValueType(reason.value),
        message=message,
        retry_after_ms=None if retry_after_s is None else round(retry_after_s * 1000),
    )
    return frame_pb2.FrameResult(frame_id=frame_id, error=error, timing=_NOTHING_DONE)


def result(
    frame: ReceivedFrame, models: Sequence[FakeModel], embed: Embed, tracks: TrackedFrame | None = None
) -> frame_pb2.FrameResult:
    """The answer to a frame; `models` stand beside the frame's choices. Raises ValueError for a wrong vector."""
    answer = frame_pb2.FrameResult(frame_id=frame.frame_id)
    rows: dict[int, list[npt.NDArray[np.float64]]] = {}
    embedded = 0
    for box in frame.boxes:
        index = _route(frame.options.models, box.class_id)
        refusal = Outcome.NO_MODEL if index is None else _refusal(frame, box)
        known = None
        if index is not None and refusal is None and tracks is not None:
            known = tracks.known(box, models[index])
        said = refusal or (known[0] if known is not None else embed(frame, box))
        if index is None or isinstance(said, Outcome):
            answer.boxes.add(outcome=frame_pb2.Outcome.ValueType(_without_vector(said).value))
            continue
        own = rows.setdefault(index, [])
        if known is None:
            embedded += 1
            own.append(_unit(said, models[index].dim))
            answer.boxes.add(outcome=frame_pb2.OUTCOME_EMBEDDED, quality=1.0)
            if tracks is not None:
                tracks.embedded(box, _as_answered(own[-1], frame.options.dtype))
        else:
            own.append(known[0].astype(np.float64))
            answer.boxes.append(known[1])
        answer.boxes[-1].block, answer.boxes[-1].row = list(rows).index(index), len(own) - 1
    for index, vectors in rows.items():
        answer.blocks.append(_block(models[index], vectors, frame.options.dtype))
    answer.timing.CopyFrom(_EMBEDDED if embedded else _NOTHING_DONE)
    answer.timing.batch_sizes.extend([embedded] if embedded else [])
    if tracks is not None:
        tracks.finish(answer)
    return answer


def _route(choices: Sequence[ModelChoice], class_id: int | None) -> int | None:
    """The choice that takes a class: the one that names it, else the one that names none."""
    for index, choice in enumerate(choices):
        if class_id is not None and class_id in choice.class_ids:
            return index
    return next((index for index, choice in enumerate(choices) if not choice.class_ids), None)


def _refusal(frame: ReceivedFrame, box: ReceivedBox) -> Outcome | None:
    """Why a box that has a model has no vector all the same."""
    size = (box.image.width, box.image.height)
    if box.is_crop:
        corners = box.inner_xyxy or (0.0, 0.0, size[0] or math.inf, size[1] or math.inf)
    elif box.xyxy is None:
        return Outcome.INVALID_BOX
    else:
        corners = box.xyxy
    if box.inner_xyxy is not None or not box.is_crop:
        fault = _geometry(corners, size)
        if fault is not None:
            return fault
    wanted = frame.options.box_filter
    return Outcome.FILTERED if wanted is not None and not _passes(wanted, frame, box, corners) else None


def _geometry(corners: Corners, size: tuple[int, int]) -> Outcome | None:
    x1, y1, x2, y2 = corners
    if not (-math.inf < x1 < x2 < math.inf and -math.inf < y1 < y2 < math.inf):
        return Outcome.INVALID_BOX
    width, height = size
    if not width or not height:
        return None
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return Outcome.OUTSIDE_FRAME
    sides = round(min(x2, width)) - round(max(x1, 0.0)), round(min(y2, height)) - round(max(y1, 0.0))
    return Outcome.TOO_SMALL if min(sides) < MIN_BOX_PX else None


def _passes(wanted: BoxFilter, frame: ReceivedFrame, box: ReceivedBox, corners: Corners) -> bool:
    x1, y1, x2, y2 = box.xyxy or corners
    width, height = x2 - x1, y2 - y1
    if frame.source_size is not None and frame.image is not None and frame.image.width and frame.image.height:
        width *= frame.source_size[0] / frame.image.width
        height *= frame.source_size[1] / frame.image.height
    return (
        (wanted.min_width is None or width >= wanted.min_width)
        and (wanted.min_height is None or height >= wanted.min_height)
        and (wanted.max_width is None or width <= wanted.max_width)
        and (wanted.max_height is None or height <= wanted.max_height)
        and (wanted.min_score is None or box.score is None or box.score >= wanted.min_score)
        and (not wanted.class_ids or box.class_id in wanted.class_ids)
    )


def _without_vector(said: object) -> Outcome:
    if not isinstance(said, Outcome) or said in _NOT_OF_A_BOX:
        raise ValueError(
            f"embed returned {said}; return the vector of a box that has one, and use fail_frames() for an error of "
            "the whole frame"
        )
    return said


def _unit(vector: npt.ArrayLike, dim: int) -> npt.NDArray[np.float64]:
    array = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(array))
    if array.shape != (dim,) or not 0 < length < math.inf:
        raise ValueError(f"embed must return a vector of shape ({dim},) that is not zero, not {array!r}")
    return array / length


def _as_answered(row: npt.NDArray[np.float64], dtype: EmbeddingDtype) -> npt.NDArray[np.float32]:
    """A row as the client will have it."""
    return row.astype(_NUMBERS[dtype]).astype(np.float32)


def _block(
    model: FakeModel, vectors: Sequence[npt.NDArray[np.float64]], dtype: EmbeddingDtype
) -> frame_pb2.EmbeddingBlock:
    return frame_pb2.EmbeddingBlock(
        model=model.name,
        version=model.version,
        space_id=model.space_id,
        dim=model.dim,
        dtype=frame_pb2.EmbeddingDtype.ValueType(dtype.value),
        count=len(vectors),
        data=np.array(vectors).astype(_NUMBERS[dtype]).tobytes(),
    )
