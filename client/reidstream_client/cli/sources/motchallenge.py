"""The boxes of a MOTChallenge sequence folder: beside the images, or in the official `gt/` and `det/` folders."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from reidstream_client.errors import FileError

from .boxes_file import BoxTable, read_mot


class Use(Enum):
    """Which of a sequence's boxes."""

    GT = "gt"
    DET = "det"


def sequence_boxes(folder: Path, use: Use | None, *, min_visibility: float) -> BoxTable:
    """Ground truth or detections; None takes ground truth if there is any. Raises FileError."""
    wanted = (use,) if use is not None else (Use.GT, Use.DET)
    places = [place for kind in wanted for place in _places(folder, kind)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        names = " nor ".join(str(place.relative_to(folder)) for place in places)
        raise FileError(f"{folder} has neither {names}; give --boxes FILE")
    return read_mot(path, min_visibility=min_visibility)


def _places(folder: Path, kind: Use) -> tuple[Path, Path]:
    name = f"{kind.value}.txt"
    return folder / name, folder / kind.value / name
