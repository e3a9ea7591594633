"""The boxes of a MOTChallenge sequence folder: beside the images, or in the official `gt/` and `det/` folders."""

from __future__ import annotations

from pathlib import Path

from reidstream_client.errors import FileError

from .boxes import BoxTable, Use, read_boxes


def sequence_boxes(folder: Path, use: Use | None, *, min_visibility: float) -> BoxTable:
    """Ground truth or detections; None takes ground truth if there is any. Raises FileError."""
    wanted = (use,) if use is not None else (Use.GT, Use.DET)
    places = [(kind, place) for kind in wanted for place in _places(folder, kind)]
    found = next(((kind, place) for kind, place in places if place.is_file()), None)
    if found is None:
        names = " nor ".join(str(place.relative_to(folder)) for _, place in places)
        raise FileError(f"{folder} has neither {names}; give --boxes FILE")
    kind, path = found
    return read_boxes(path, use=kind, min_visibility=min_visibility)


def _places(folder: Path, kind: Use) -> tuple[Path, Path]:
    name = f"{kind.value}.txt"
    return folder / name, folder / kind.value / name
