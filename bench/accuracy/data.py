"""Labelled crops of people: MOT17 sequences, and a folder named as Market-1501 names its files.

Trap: neighbouring frames of one camera look alike, so a high score on MOT17 says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_engines.boxes import resolve
from reidstream_engines.image import PixelBox
from reidstream_engines.spec import CropRule

from .retrieval import Flags

Bgr: TypeAlias = npt.NDArray[np.uint8]
Indices: TypeAlias = npt.NDArray[np.int64]

MIN_VISIBILITY = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Crops as queries (Q,) and gallery (G,), by index; `same` (Q, G): whether both show the same person."""

    queries: Indices
    gallery: Indices
    same: Flags


def first_against_later(people: Sequence[str]) -> Split:
    """The first crop of everybody who has several is a query; all other crops are the gallery."""
    names = np.array(people)
    _, firsts, counts = np.unique(names, return_index=True, return_counts=True)
    queries = np.sort(firsts[counts > 1])
    gallery = np.setdiff1d(np.arange(len(names)), queries)
    return Split(queries=queries, gallery=gallery, same=names[queries, None] == names[None, gallery])


def mot17(folder: Path) -> tuple[list[Bgr], list[str]]:
    """Crops and the person's name ("sequence/id") of all usable boxes, frame by frame.

    Usable: considered, a person, visibility at least 0.3. Raises OSError if a picture or a table is missing.
    """
    crops: list[Bgr] = []
    people: list[str] = []
    for sequence in sorted(folder.glob("MOT17-*")):
        rows = np.loadtxt(sequence / "gt.txt", delimiter=",", ndmin=2)
        rows = rows[(rows[:, 6] == 1) & (rows[:, 7] == 1) & (rows[:, 8] >= MIN_VISIBILITY)]
        for number in np.unique(rows[:, 0]):
            frame = _read(sequence / "img1" / f"{int(number):06d}.jpg")
            for _, person, left, top, width, height, *_ in rows[rows[:, 0] == number].tolist():
                rect = (left, top, left + width, top + height)
                box = resolve(rect, width=frame.shape[1], height=frame.shape[0], rule=CropRule.EXACT, min_px=1)
                if isinstance(box, PixelBox):
                    crops.append(frame[box.y1 : box.y2, box.x1 : box.x2].copy())
                    people.append(f"{sequence.name}/{int(person)}")
    return crops, people


def market_style(folder: Path) -> tuple[list[Bgr], list[str], list[str]]:
    """Crops, the person's label and the camera's number, from names `PPPP_cC...jpg`. Raises OSError."""
    paths = sorted(folder.glob("*.jpg"))
    return [_read(path) for path in paths], [path.name[:4] for path in paths], [path.name[6] for path in paths]


def _read(path: Path) -> Bgr:
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"no picture at {path}")
    return np.asarray(picture, np.uint8)
