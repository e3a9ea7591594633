"""Arrays of a run, one entry per box, and one per ended track, written when the run ends.

Until then the rows wait in a temporary file and not in memory: a camera's day is tens of gigabytes of vectors. Trap: a
run that is cut short must still write what it has, and an unfinished file must not look like a finished one. So the
file gets its name last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError
from reidstream_client.models import AgreedModel
from reidstream_client.types import FrameEmbeddings, TrackEnded

from .protocol import outcome_words
from .targets import is_special, make_folder


class NpzWriter:
    """Arrays: `frame` int64, `name` text (of the image file, or "frame 7"), `box_index` int64, `box_xyxy` float32
    (n, 4), `valid` bool, `embedding` float32 (n, D), `quality` float32, `track_id` int64 (-1: none), `outcome` text,
    `cached` bool, `source_frame` int64; and once, `space_id` and `model` text. With tracks, one entry for each that has
    ended: `ended_track_id` uint64, `ended_vector` float32 (m, D), `ended_count` int64 (0: the vector is zero),
    `ended_weight` float64, `ended_first_frame` and `ended_last_frame` int64, `ended_cause` text.

    `longest_name`: the most letters that a name will have. `tracks`: whether there are any. Raises FileError where the
    file cannot be written.
    """

    def __init__(self, path: Path, *, longest_name: int, tracks: bool = False) -> None:
        make_folder(path)
        self._path = path
        self._special = is_special(path)
        self._unfinished = path if self._special else path.with_name(f".{path.name}.part")
        self._longest_name = longest_name
        self._model: AgreedModel | None = None
        self._rows = np.dtype([])
        self._frames = self._boxes = 0
        self._ended: list[TrackEnded] | None = [] if tracks else None
        try:
            if not self._special:
                self._unfinished.open("wb").close()
                self._unfinished.unlink()
            folder = None if self._special else path.parent
            self._waiting = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the writer
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from None

    def begin(self, model: AgreedModel) -> None:
        """How long a vector is."""
        self._model = model
        self._rows = np.dtype(
            [
                ("frame", np.int64),
                ("name", f"U{self._longest_name}"),
                ("box_index", np.int64),
                ("box_xyxy", np.float32, (4,)),
                ("valid", np.bool_),
                ("quality", np.float32),
                ("track_id", np.int64),
                ("outcome", "U20"),
                ("cached", np.bool_),
                ("source_frame", np.int64),
                ("embedding", np.float32, (model.dim,)),
            ]
        )

    def add(self, name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
        """An answer, and the name and the boxes of its frame."""
        rows = np.zeros(len(boxes.xyxy), self._rows)
        rows["frame"] = answer.frame_id
        rows["name"] = name
        rows["box_index"] = np.arange(len(rows))
        rows["box_xyxy"] = boxes.xyxy
        rows["valid"] = answer.valid
        rows["quality"] = answer.quality
        rows["track_id"] = boxes.track_ids
        rows["outcome"] = outcome_words(answer)
        rows["cached"] = answer.cached
        rows["source_frame"] = answer.source_frame_ids
        rows["embedding"] = answer.embeddings
        try:
            self._waiting.write(rows.tobytes())
        except OSError as error:
            raise FileError(f"{self._path} cannot be written: {error.strerror}") from None
        self._frames += 1
        self._boxes += len(rows)

    def end(self, track: TrackEnded) -> None:
        """A track has ended."""
        if self._ended is not None:
            self._ended.append(track)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Write what has come, also after an error. If nothing has come, write no file."""
        with self._waiting:
            if self._frames and self._model is not None:
                self._write(self._model)

    def _write(self, model: AgreedModel) -> None:
        try:
            self._waiting.flush()
            rows: Any = np.zeros(0, self._rows)
            if self._boxes:
                rows = np.memmap(self._waiting, self._rows, "r", shape=(self._boxes,))
            arrays: dict[str, Any] = {name: rows[name] for name in self._rows.names or ()}
            arrays |= {"space_id": np.array(model.space_id), "model": np.array(model.name)}
            arrays |= {} if self._ended is None else _ended_arrays(self._ended, model.dim)
            with self._unfinished.open("wb") as file:
                np.savez(file, **arrays)
            if not self._special:
                self._unfinished.replace(self._path)
        except OSError as error:
            raise FileError(f"{self._path} cannot be written: {error.strerror}") from None


def _ended_arrays(tracks: Sequence[TrackEnded], dim: int) -> dict[str, npt.NDArray[Any]]:
    vectors = np.zeros((len(tracks), dim), np.float32)
    for row, track in zip(vectors, tracks, strict=True):
        if track.vector is not None:
            row[:] = track.vector
    return {
        "ended_track_id": np.array([track.track_id for track in tracks], np.uint64),
        "ended_vector": vectors,
        "ended_count": np.array([track.count for track in tracks], np.int64),
        "ended_weight": np.array([track.weight for track in tracks], np.float64),
        "ended_first_frame": np.array([track.first_frame_id for track in tracks], np.int64),
        "ended_last_frame": np.array([track.last_frame_id for track in tracks], np.int64),
        "ended_cause": np.array([track.cause.name.lower() for track in tracks], "U20"),
    }
