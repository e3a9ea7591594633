"""One line of JSON per frame, flushed as it comes, for programs that read along."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import Self

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError
from reidstream_client.types import FrameEmbeddings, Timing

from .protocol import outcome_words

_DECIMALS = 8  # of vectors whose numbers are around 0.05: as exact as float32


class JsonLinesWriter:
    """{"frame", "name", "model", "space_id", "error", "local", "timing", "boxes": [{"box", "track_id", "outcome",
    "quality", "embedding"}]}; seconds, and null for what is not there. Raises FileError where the file cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error}") from None

    def add(self, name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
        """An answer, and the name and the boxes of its frame."""
        self._file.write(json.dumps(frame_as_json(name, boxes, answer), separators=(",", ":")) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()


def frame_as_json(name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> dict[str, object]:
    """An answer in JSON's own types."""
    error = answer.error
    vectors = answer.embeddings.astype(np.float64).round(_DECIMALS).tolist()
    return {
        "frame": answer.frame_id,
        "name": name,
        "model": answer.model.name,
        "space_id": answer.space_id,
        "error": None
        if error is None
        else {
            "code": error.code.name,
            "reason": error.reason.name.lower(),
            "message": error.message,
            "retry_after_s": error.retry_after_s,
        },
        "local": answer.local,
        "timing": _timing(answer.timing),
        "boxes": [
            {
                "box": [value if math.isfinite(value) else None for value in box],
                "track_id": None if track_id < 0 else track_id,
                "outcome": outcome,
                "quality": round(float(quality), 4),
                "embedding": vector if valid else None,
            }
            for box, track_id, outcome, quality, valid, vector in zip(
                boxes.xyxy.tolist(),
                boxes.track_ids.tolist(),
                outcome_words(answer),
                answer.quality,
                answer.valid,
                vectors,
                strict=True,
            )
        ],
    }


def _timing(timing: Timing) -> dict[str, object]:
    return {
        "decoded_s": timing.decoded_s,
        "first_batch_started_s": timing.first_batch_started_s,
        "last_batch_ended_s": timing.last_batch_ended_s,
        "sent_s": timing.sent_s,
        "round_trip_s": timing.round_trip_s,
        "batch_sizes": list(timing.batch_sizes),
    }
