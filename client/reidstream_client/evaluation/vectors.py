"""Vectors out of files: arrays of `reidstream-client stream`, and TAO's JSON.

Which row belongs to which picture is said by names: the path within the data set, or the name of the file where it is
the only one of that name. A box of a frame is called "000001.jpg#FRAME:IDENTITY", which the arrays of a stream give by
frame and track_id.

Traps: vectors of two spaces may have the same length and mean nothing to each other. TAO's files do not say their space
at all: then reports say so.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError, SpaceMismatch
from reidstream_client.evaluation.pictures import Pictures, some

from .datasets.tao import read_entries

NO_SPACE: Final = ""
"""The space of vectors whose file does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """N rows. `names`: different for each. `failed`: why a row has no vector, by its name; such rows are not among the
    N. `source`: the file, for people.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    space_id: str
    model: str
    source: str
    failed: dict[str, str]


def read_vectors(path: Path) -> Vectors:
    """The vectors of a file. Raises FileError."""
    if path.suffix.lower() == ".json":
        return _read_tao(path)
    arrays = read_arrays(path)
    for name in ("embedding", "name"):
        if name not in arrays:
            raise FileError(f"{path} has no array {name!r}; arrays of `reidstream-client stream` have it")
    values = arrays["embedding"]
    names = [str(name) for name in arrays["name"].tolist()]
    if values.ndim != 2 or len(values) != len(names):  # noqa: PLR2004 - a matrix
        raise FileError(f"{path}: embedding is of shape {values.shape}, and name has {len(names)} entries")
    if "track_id" in arrays and "frame" in arrays and (arrays["track_id"] >= 0).any():
        columns = zip(names, arrays["frame"].tolist(), arrays["track_id"].tolist(), strict=True)
        names = [f"{name}#{frame}:{track}" for name, frame, track in columns]
    valid = arrays.get("valid", np.ones(len(names), np.bool_)).astype(np.bool_)
    words = arrays["outcome"].tolist() if "outcome" in arrays else ["no vector"] * len(names)
    kept = np.flatnonzero(valid)
    return _checked(
        Vectors(
            names=tuple(names[row] for row in kept),
            values=np.asarray(values[kept], np.float32),
            space_id=str(arrays.get("space_id", NO_SPACE)),
            model=str(arrays.get("model", "")),
            source=str(path),
            failed={names[row]: str(words[row]) for row in np.flatnonzero(~valid)},
        )
    )


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file. Raises FileError."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # NumPy leaves a wrong file open
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, AttributeError, zlib.error) as error:
        raise FileError(f"{path} is no whole .npz file ({error}); was it cut short?") from None


def of_one_space(files: Sequence[Vectors]) -> Vectors:
    """Several files as one. Raises SpaceMismatch for files of different spaces, FileError for different lengths and for
    a name that two of them have.
    """
    first = files[0]
    for other in files[1:]:
        if other.space_id != first.space_id:
            raise SpaceMismatch(
                f"{first.source} has vectors of the space {first.space_id or '(not stated)'} and {other.source} of "
                f"{other.space_id or '(not stated)'}; only vectors of one space can be compared"
            )
        if other.values.shape[1] != first.values.shape[1]:
            raise FileError(
                f"{first.source} has vectors of {first.values.shape[1]} numbers and {other.source} of "
                f"{other.values.shape[1]}; they are of different models"
            )
    joined = Vectors(
        names=tuple(name for file in files for name in file.names),
        values=np.concatenate([file.values for file in files]),
        space_id=first.space_id,
        model=first.model,
        source=", ".join(file.source for file in files),
        failed={name: why for file in files for name, why in file.failed.items()},
    )
    return _checked(joined)


def rows_for(pictures: Pictures, vectors: Vectors) -> npt.NDArray[np.float32]:
    """The vector of each picture. Raises FileError, naming pictures without one."""
    exact = {name: row for row, name in enumerate(vectors.names)}
    by_file: dict[str, int] = {}
    for name, place in exact.items():
        last = _last(name)
        by_file[last] = place if last not in by_file else -1
    rows = np.full(len(pictures), -1, np.int64)
    missing: list[str] = []
    unclear: list[str] = []
    for at, name in enumerate(pictures.names):
        path = pictures.paths[int(pictures.files[at])]
        row = exact.get(name, exact.get(path, by_file.get(_last(name))))
        if row is None:
            missing.append(name)
        elif row < 0:
            unclear.append(name)
        else:
            rows[at] = row
    if unclear:
        raise FileError(f"{vectors.source} has several vectors with the file name of {some(unclear)}; use whole paths")
    if missing:
        failed = {_last(name): why for name, why in vectors.failed.items()}
        known = [f"{name} ({failed[_last(name)]})" for name in missing if _last(name) in failed]
        raise FileError(
            f"{vectors.source} has no vector of {some(known or missing)}"
            + (f" ({len(missing)} of {len(pictures)} pictures)" if len(missing) > 1 else "")
        )
    return vectors.values[rows]


def _read_tao(path: Path) -> Vectors:
    names: list[str] = []
    rows: list[Any] = []
    for at, entry in enumerate(read_entries(path), 1):
        row = entry.get("embedding")
        if not isinstance(row, list) or not row or len(row) != len(rows[0] if rows else row):
            raise FileError(f'entry {at} of {path} has no "embedding" of as many numbers as the first one')
        names.append(str(entry["img_path"]))
        rows.append(row)
    try:
        values = np.array(rows, np.float32)
    except (TypeError, ValueError):
        raise FileError(f"an embedding of {path} is no list of numbers") from None
    return _checked(
        Vectors(names=tuple(names), values=values, space_id=NO_SPACE, model="", source=str(path), failed={})
    )


def write_tao(path: Path, names: Iterable[str], values: npt.NDArray[np.float32]) -> None:
    """Vectors as TAO writes them. Raises FileError."""
    entries = [
        {"img_path": name, "embedding": row}
        for name, row in zip(names, values.astype(np.float64).round(8).tolist(), strict=True)
    ]
    try:
        path.write_text(json.dumps(entries), encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from None


def _checked(vectors: Vectors) -> Vectors:
    if not len(vectors.names):
        raise FileError(f"{vectors.source} has no vector")
    if len(set(vectors.names)) != len(vectors.names):
        seen: set[str] = set()
        twice = next(name for name in vectors.names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise FileError(f"{vectors.source} has two vectors of {twice}")
    wrong = ~np.isfinite(vectors.values).all(axis=1)
    if wrong.any():
        name = vectors.names[int(wrong.argmax())]
        raise FileError(f"the vector of {name} in {vectors.source} has a number that is not finite (NaN or infinity)")
    return vectors


def _last(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name
