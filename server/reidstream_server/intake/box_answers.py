"""What became of each box, for a door that answers box by box.

Why not rows of the job: they are those of the crops that were planned. A crop that failed has a row that nobody wrote,
a refused box has none, and a cached one has a vector of its own. Trap: the vectors are views of the job's memory.

The gRPC door renders blocks of rows instead, for speed; a test compares both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, assert_never

from reidstream_engines.protocol import Embeddings
from reidstream_server.core.faults import CropOutcome
from reidstream_server.runtime.job import BoxRefusal, CachedRow
from reidstream_server.runtime.models import ServedModel
from reidstream_server.runtime.session import JobAnswer


class Embedded(NamedTuple):
    """A box with a vector (dim,) float32 of `model`. `source_frame_id`: where a cached one comes from; else None."""

    model: ServedModel
    vector: Embeddings
    quality: float
    source_frame_id: int | None


def box_answers(answer: JobAnswer) -> Iterator[Embedded | BoxRefusal | CropOutcome]:
    """One item for each box of the request, in order: its vector, or why it has none. Nothing for a frame with a fault.

    An outcome is never EMBEDDED: such a box has a vector.
    """
    job = answer.payload
    if answer.fault is not None or job is None:
        return
    models = job.agreement.routes.models
    for fate in job.fates:
        match fate:
            case int():
                outcome, crop = answer.outcomes[fate], job.crops[fate]
                if outcome is CropOutcome.EMBEDDED:
                    yield Embedded(models[crop.model], job.vectors[crop.model][crop.row], crop.quality, None)
                else:
                    yield outcome
            case CachedRow():
                yield Embedded(models[fate.model], fate.vector, fate.quality, fate.source_frame_id)
            case BoxRefusal():
                yield fate
            case _:
                assert_never(fate)
