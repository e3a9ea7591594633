"""Arrays of a run, one entry per box, written when the run ends.

Until then the rows wait in a temporary file and not in memory: a camera's day is tens of gigabytes of vectors. Trap: a
run that is cut short must still write what it has, and an unfinished file must not look like a finished one. So the
file gets its name last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from typing_extensions import Self

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError
from reidstream_client.models import AgreedModel
from reidstream_client.types import FrameEmbeddings

from .protocol import outcome_words
from .targets import is_special, make_folder


class NpzWriter:
    """Arrays: `frame` int64, `name` text (of the image file, or "frame 7"), `box_index` int64, `box_xyxy` float32
    (n, 4), `valid` bool, `embedding` float32 (n, D), `quality` float32, `track_id` int64 (-1: none), `outcome` text;
    and once, `space_id` and `model` text.

    `longest_name`: the most letters that a name will have. Raises FileError where the file cannot be written.
    """

    def __init__(self, path: Path, *, longest_name: int) -> None:
        make_folder(path)
        self._path = path
        self._special = is_special(path)
        self._unfinished = path if self._special else path.with_name(f".{path.name}.part")
        self._longest_name = longest_name
        self._model: AgreedModel | None = None
        self._rows = np.dtype([])
        self._frames = self._boxes = 0
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
        rows["embedding"] = answer.embeddings
        try:
            self._waiting.write(rows.tobytes())
        except OSError as error:
            raise FileError(f"{self._path} cannot be written: {error.strerror}") from None
        self._frames += 1
        self._boxes += len(rows)

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
            with self._unfinished.open("wb") as file:
                np.savez(file, **arrays)
            if not self._special:
                self._unfinished.replace(self._path)
        except OSError as error:
            raise FileError(f"{self._path} cannot be written: {error.strerror}") from None
