"""MOTChallenge ground truth: boxes of frames with the identity of each, one folder for each sequence.

Only rows with considered 1 and class 1 (pedestrian) count. A person is a number within a sequence, so identities of
several sequences are made different, unless the sequences say that they share them (`shared`, as drawn cameras do).
Each sequence is a camera. Trap: pixel coordinates are used as they are, although MOTChallenge counts from 1, since
published vectors do the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.evaluation.pictures import Pictures

from .files import image_files

_FRAME, _ID, _BOX, _CONSIDERED, _CLASS, _VISIBILITY = 0, 1, slice(2, 6), 6, 7, 8
_PEDESTRIAN: Final = 1
_LEAST_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TruthRows:
    """Rows of ground truth or of a tracker's results: `ltwh` (N, 4), the others (N,)."""

    frames: npt.NDArray[np.int64]
    identities: npt.NDArray[np.int64]
    ltwh: npt.NDArray[np.float64]
    considered: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float64]


def sequences(folder: Path) -> list[Path]:
    """The sequences with ground truth: the folder itself, or those in it."""
    if (folder / "img1").is_dir():
        return [folder] if truth_file(folder) is not None else []
    inner = sorted(path for path in folder.iterdir() if (path / "img1").is_dir())
    return [path for path in inner if truth_file(path) is not None]


def truth_file(sequence: Path) -> Path | None:
    """Where its ground truth is; None: it has none."""
    return next((path for path in (sequence / "gt" / "gt.txt", sequence / "gt.txt") if path.is_file()), None)


def read_sequences(folder: Path, *, min_visibility: float, shared: bool) -> Pictures:
    """The boxes of all sequences of a folder, in the order of sequence, frame and row. Raises FileError."""
    found = sequences(folder)
    if not found:
        raise FileError(f"{folder} has no MOTChallenge sequence with img1/ and gt/gt.txt (or gt.txt)")
    paths: list[str] = []
    names: list[str] = []
    parts: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64], int]] = []
    numbers: dict[tuple[str, int], int] = {}
    for camera, sequence in enumerate(found, 1):
        truth = truth_file(sequence)
        rows = read_rows(truth) if truth is not None else None
        if rows is None:
            continue
        images = {_number(path): path for path in image_files(sequence / "img1")}
        counts = rows.considered & (rows.classes == _PEDESTRIAN) & (rows.visibility >= min_visibility)
        counts &= np.isin(rows.frames, list(images))
        order = np.flatnonzero(counts)[np.argsort(rows.frames[counts], kind="stable")]
        used = np.unique(rows.frames[order])
        place = {int(frame): len(paths) + at for at, frame in enumerate(used)}
        paths += [str(images[int(frame)]) for frame in used]
        own = "" if shared else sequence.name
        for frame, identity in zip(rows.frames[order].tolist(), rows.identities[order].tolist(), strict=True):
            numbers.setdefault((own, identity), len(numbers) + 1)
            names.append(f"{sequence.name}/{images[frame].name}#{frame}:{identity}")
        parts.append(
            (
                np.array([place[int(frame)] for frame in rows.frames[order]], np.int64),
                rows.ltwh[order],
                np.array([numbers[own, int(identity)] for identity in rows.identities[order]], np.int64),
                camera,
            )
        )
    boxes = np.concatenate([part[1] for part in parts])
    if not len(boxes):
        raise FileError(
            f"{folder} has no box that counts: no row with considered 1, class 1 and visibility of at least "
            f"{min_visibility:g} belongs to a picture in img1/"
        )
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32)
    return Pictures(
        paths=tuple(paths),
        names=tuple(names),
        files=np.concatenate([part[0] for part in parts]),
        boxes=corners,
        identities=np.concatenate([part[2] for part in parts]),
        cameras=np.concatenate([np.full(len(part[1]), part[3], np.int64) for part in parts]),
    )


def read_rows(path: Path) -> TruthRows:
    """All rows of a file: ground truth of 8 or 9 columns, or results of 7 and more. Raises FileError, with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} cannot be read: it is no text") from None
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell for cell in line.replace(",", " ").split() if cell]
        if not cells:
            continue
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            raise FileError(f"{path}, line {number}: {line.strip()[:60]!r} is not a row of numbers") from None
        if len(row) <= _CONSIDERED or (rows and len(row) != len(rows[0])):
            raise FileError(
                f"{path}, line {number} has {len(row)} columns; expected frame,id,left,top,width,height,considered,"
                "class,visibility, as many in each line; was the file cut short?"
            )
        rows.append(row)
    table = np.array(rows, np.float64).reshape(len(rows), -1 if rows else _LEAST_COLUMNS)
    if not np.isfinite(table).all():
        raise FileError(
            f"{path} has a number that is not finite, in row {int(np.argwhere(~np.isfinite(table))[0][0]) + 1}"
        )
    whole = np.floor(table[:, :2]) == table[:, :2]
    if not whole.all():
        raise FileError(f"{path}, row {int(np.argwhere(~whole)[0][0]) + 1}: frame and id must be whole numbers")
    columns = table.shape[1]
    ones = np.ones(len(table))
    return TruthRows(
        frames=table[:, _FRAME].astype(np.int64),
        identities=table[:, _ID].astype(np.int64),
        ltwh=table[:, _BOX],
        considered=table[:, _CONSIDERED] != 0,
        classes=(table[:, _CLASS] if columns >= _LEAST_COLUMNS else ones).astype(np.int64),
        visibility=table[:, _VISIBILITY] if columns > _VISIBILITY else ones,
    )


def _number(path: Path) -> int:
    digits = "".join(character if character.isdecimal() else " " for character in path.stem).split()
    return int(digits[-1]) if digits else -1
