"""Boxes by frame, as every reader makes them.

Trap: coordinates that are all fractions are boxes in parts of the picture, as YOLO writes them. Read as pixels they are
boxes of nothing in a corner, so they are refused here, for all readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError, InvalidRequest
from reidstream_client.frames.boxes import BoxArray, from_cxcywh, from_ltwh, parse_boxes

FrameKey: TypeAlias = "int | str"  # a frame's number, or its image's file name

CORNERS, LTWH, CENTRE = "xyxy", "ltwh", "cxcywh"
_PARSERS = {CORNERS: parse_boxes, LTWH: from_ltwh, CENTRE: from_cxcywh}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTable:
    """Boxes of a source, by frame number or image name. `notes`: what people should know of how the file was read."""

    path: Path
    frames: Mapping[FrameKey, FrameBoxes]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Rows:
    """A frame's boxes while they are read, in the file's own form."""

    form: str = CORNERS
    boxes: list[list[float]] = field(default_factory=list)
    track_ids: list[int] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)


def make_table(path: Path, found: Iterable[tuple[FrameKey, Rows]]) -> BoxTable:
    """A table of frames that were read one by one. Raises FileError, naming the frame."""
    frames: dict[FrameKey, FrameBoxes] = {}
    for key, rows in found:
        try:
            xyxy = _PARSERS[rows.form](rows.boxes)
            track_ids = np.array(rows.track_ids or [-1] * len(xyxy), np.int64)
            class_ids = np.array(rows.class_ids, np.int64) if rows.class_ids else None
        except (InvalidRequest, ValueError, TypeError, OverflowError) as error:
            raise FileError(f"{path}, frame {key}: {error}") from None
        for name, column in (("track_ids", track_ids), ("class_ids", class_ids)):
            if column is not None and column.shape != (len(xyxy),):
                raise FileError(f"{path}, frame {key}: {len(column)} {name} for {len(xyxy)} boxes")
        if key in frames:
            raise FileError(f"{path} has frame {key} twice")
        frames[key] = FrameBoxes(xyxy=xyxy, track_ids=track_ids, class_ids=class_ids)
    check_pixels(path, (boxes.xyxy for boxes in frames.values()))
    return BoxTable(path=path, frames=frames)


def check_pixels(path: Path, boxes: Iterable[BoxArray]) -> None:
    """Raises FileError if all boxes lie within 0 to 1, with fractions: then they are no pixels."""
    fractions = False
    for xyxy in boxes:
        if not ((xyxy >= 0) & (xyxy <= 1)).all():
            return
        fractions = fractions or bool((xyxy % 1 != 0).any())
    if fractions:
        raise FileError(
            f"the boxes of {path} all lie within 0 to 1, so they are parts of the picture; boxes must be in pixels: "
            "multiply x by the picture's width and y by its height"
        )


def whole_number(value: object, what: str) -> int:
    """3, "3", 3.0 and "3.0" are 3. Raises ValueError for what is not whole."""
    try:
        number = float(str(value)) if not isinstance(value, bool) else float("nan")
        exact = int(str(value).strip()) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", str(value)) else int(number)
    except (ValueError, OverflowError):
        raise ValueError(f"{what} must be a whole number, not {value!r}") from None
    if exact != number:
        raise ValueError(f"{what} must be a whole number, not {value!r}")
    return exact


def image_name(value: object) -> str:
    """The file name of an image that is named by its path, on any system."""
    return re.split(r"[/\\]", str(value).strip())[-1]
