"""One line of JSON per frame and per ended track, flushed as it comes, for programs that read along."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import Self

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError
from reidstream_client.models import AgreedModel
from reidstream_client.types import Embeddings, FrameEmbeddings, Timing, TrackEnded

from .protocol import outcome_words
from .targets import is_special, make_folder

_DECIMALS = 8  # of vectors whose numbers are around 0.05: as exact as float32


class JsonLinesWriter:
    """{"frame", "name", "model", "space_id", "error", "local", "timing", "boxes": [{"box", "track_id", "outcome",
    "quality", "cached", "source_frame", "embedding"}]}, and {"ended_track", "cause", "count", "weight", "first_frame",
    "last_frame", "model", "space_id", "vector"}; seconds, and null for what is not there. Raises FileError where the
    file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        make_folder(path)
        self._path = path
        self._made = not path.exists()
        self._begun = False
        try:
            self._file = path.open("a", encoding="utf-8")  # what is there stays until there is an answer
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from None

    def begin(self, model: AgreedModel) -> None:  # noqa: ARG002 - each line has the model of its answer
        """Empty the file."""
        self._begun = True
        if self._file.seekable() and not is_special(self._path):
            self._file.truncate(0)

    def add(self, name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
        """An answer, and the name and the boxes of its frame."""
        self._write(frame_as_json(name, boxes, answer))

    def end(self, track: TrackEnded) -> None:
        """A track has ended."""
        self._write(track_as_json(track))

    def _write(self, line: object) -> None:
        try:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()
        except BrokenPipeError:  # whoever read along has gone, and has what it wanted
            raise
        except OSError as error:
            raise FileError(f"{self._path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be written was told when it was written
            self._file.close()
        if self._made and not self._begun:
            self._path.unlink(missing_ok=True)


def frame_as_json(name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> dict[str, object]:
    """An answer in JSON's own types."""
    error = answer.error
    vectors = _rounded(answer.embeddings)
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
                "cached": cached,
                "source_frame": source if valid else None,
                "embedding": vector if valid else None,
            }
            for box, track_id, outcome, quality, cached, source, valid, vector in zip(
                boxes.xyxy.tolist(),
                boxes.track_ids.tolist(),
                outcome_words(answer),
                answer.quality,
                answer.cached.tolist(),
                answer.source_frame_ids.tolist(),
                answer.valid,
                vectors,
                strict=True,
            )
        ],
    }


def track_as_json(track: TrackEnded) -> dict[str, object]:
    """An ended track in JSON's own types."""
    return {
        "ended_track": track.track_id,
        "cause": track.cause.name.lower(),
        "count": track.count,
        "weight": round(track.weight, 4),
        "first_frame": track.first_frame_id,
        "last_frame": track.last_frame_id,
        "model": None if track.model is None else track.model.name,
        "space_id": track.space_id,
        "vector": None if track.vector is None else _rounded(track.vector),
    }


def _rounded(vectors: Embeddings) -> list[object]:
    numbers: list[object] = vectors.astype(np.float64).round(_DECIMALS).tolist()
    return numbers


def _timing(timing: Timing) -> dict[str, object]:
    return {
        "decoded_s": timing.decoded_s,
        "first_batch_started_s": timing.first_batch_started_s,
        "last_batch_ended_s": timing.last_batch_ended_s,
        "sent_s": timing.sent_s,
        "round_trip_s": timing.round_trip_s,
        "batch_sizes": list(timing.batch_sizes),
    }
