"""Vectors that were made before, in a file for each space.

A key is the sha256 of the picture's file, with the box in it. Trap: a file of another space under the right name would
give figures of a mixture, so the space is in the file as well.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.evaluation.vectors import read_arrays


def key_of(digest: str, box: npt.NDArray[np.float32] | None, *, upright: bool) -> str:
    """A picture's key: its file's digest, its box, and whether EXIF turns it."""
    inside = b"" if box is None else np.ascontiguousarray(box, np.float32).tobytes()
    return hashlib.sha256(bytes.fromhex(digest) + inside + (b"upright" if upright else b"")).hexdigest()


class VectorCache:
    """`found` has vectors by key; `save` writes those that were added. Raises FileError for a file of another space."""

    def __init__(self, folder: Path, space_id: str) -> None:
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9]', '_', space_id)}.npz"
        self._space_id = space_id
        self._added = 0
        self.found: dict[str, npt.NDArray[np.float32]] = {}
        if not self.path.exists():
            return
        arrays = read_arrays(self.path)
        if {"key", "embedding", "space_id"} - arrays.keys() or str(arrays["space_id"]) != space_id:
            raise FileError(f"{self.path} is no cache of the space {space_id}; remove it, or name another folder")
        self.found = dict(zip(arrays["key"].tolist(), arrays["embedding"], strict=True))

    def add(self, key: str, vector: npt.NDArray[np.float32]) -> None:
        """Keep a vector."""
        self.found[key] = vector
        self._added += 1

    def save(self) -> None:
        """Write the file, if there is anything new. Raises FileError."""
        if not self._added:
            return
        unfinished = self.path.with_name(f".{self.path.name}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.savez(
                    file,
                    key=np.array(list(self.found)),
                    embedding=np.stack(list(self.found.values())),
                    space_id=np.array(self._space_id),
                )
            unfinished.replace(self.path)
        except OSError as error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}") from None
        self._added = 0
