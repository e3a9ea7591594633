"""An answer's vectors: JSON for people, npy and plain bytes for programs.

Trap: whoever takes bytes gets a row for each box, in order. One that has no vector is a row of NaN, so rows and boxes
stay together. In JSON it has its outcome.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import orjson

from reidstream_engines.protocol import Embeddings
from reidstream_server.core.effects import FrameTimes
from reidstream_server.core.faults import CropOutcome
from reidstream_server.errors import InvalidCall
from reidstream_server.intake.box_answers import Embedded
from reidstream_server.runtime.job import BoxRefusal
from reidstream_server.runtime.models import ServedModel
from reidstream_server.transport.http_server.responses import JSON, Response

BoxAnswer = Embedded | BoxRefusal | CropOutcome


class Kind(Enum):
    """How vectors are written; the values are the media types."""

    JSON = JSON
    BYTES = "application/octet-stream"
    NPY = "application/x-npy"


_ACCEPTED: Mapping[str, Kind] = {
    "*/*": Kind.JSON,
    "application/*": Kind.JSON,
    JSON: Kind.JSON,
    "application/octet-stream": Kind.BYTES,
    "application/x-npy": Kind.NPY,
    "application/vnd.numpy": Kind.NPY,
}


def kind_of(accept: str) -> Kind:
    """What a client wants, by its header Accept: the first that is known, without looking at weights. Raises
    InvalidCall.
    """
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    for name in wanted:
        if not name or name in _ACCEPTED:
            return _ACCEPTED.get(name, Kind.JSON)
    known = ", ".join(kind.value for kind in Kind)
    raise InvalidCall(f"Accept names nothing that this call can answer; it has {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What is answered. `single`: one picture was sent without boxes, so the vector is the answer's own."""

    boxes: Sequence[BoxAnswer]
    model: ServedModel
    times: FrameTimes
    now_ns: int
    single: bool
    as_base64: bool


def rendered(answer: Answered, kind: Kind) -> Response:
    """The response. Takes about 20 ns a number in JSON."""
    match kind:
        case Kind.JSON:
            return Response(body=orjson.dumps(_json(answer), option=orjson.OPT_SERIALIZE_NUMPY))
        case Kind.BYTES:
            return Response(content_type=kind.value, body=_rows(answer).tobytes())
        case Kind.NPY:
            file = io.BytesIO()
            np.save(file, _rows(answer), allow_pickle=False)
            return Response(content_type=kind.value, body=file.getvalue())


def _json(answer: Answered) -> dict[str, object]:
    spec = answer.model.spec
    about: dict[str, object] = {
        "model": spec.name,
        "version": spec.version,
        "space_id": spec.space_id,
        "timing": _timing(answer.times, answer.now_ns),
    }
    if answer.single and isinstance(answer.boxes[0], Embedded):
        return _vector(answer.boxes[0], as_base64=answer.as_base64) | about
    boxes = [_box(box, as_base64=answer.as_base64) for box in answer.boxes]
    return {"dim": spec.output.dim, "boxes": boxes} | about


def _box(box: BoxAnswer, *, as_base64: bool) -> dict[str, object]:
    if isinstance(box, Embedded):
        return {"outcome": CropOutcome.EMBEDDED.value} | _vector(box, as_base64=as_base64)
    return {"outcome": box.value}


def _vector(box: Embedded, *, as_base64: bool) -> dict[str, object]:
    vector: object = np.ascontiguousarray(box.vector)
    if as_base64:
        vector = base64.b64encode(_little_endian(box.vector).tobytes()).decode()
    return {"dim": len(box.vector), "embedding": vector, "quality": box.quality}


def _rows(answer: Answered) -> npt.NDArray[np.float32]:
    rows = np.full((len(answer.boxes), answer.model.spec.output.dim), np.nan, dtype="<f4")
    for row, box in zip(rows, answer.boxes, strict=True):
        if isinstance(box, Embedded):
            row[:] = box.vector
    return rows


def _little_endian(vector: Embeddings) -> npt.NDArray[np.float32]:
    return np.asarray(vector, dtype="<f4")


def _timing(times: FrameTimes, now_ns: int) -> dict[str, object]:
    """By the names of the wire contract: nanoseconds since the whole request had come."""

    def since(at_ns: int) -> int:
        return at_ns - times.arrived_ns if at_ns else 0

    return {
        "decoded_ns": since(times.decoded_ns),
        "first_batch_started_ns": since(times.first_batch_ns),
        "last_batch_ended_ns": since(times.last_batch_ns),
        "sent_ns": since(now_ns),
        "batch_sizes": list(times.batch_sizes),
    }
