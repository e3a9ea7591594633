"""A frame of a source: data only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reidstream_client.errors import FileError
from reidstream_client.frames.boxes import BoxArray
from reidstream_client.frames.images import Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameBoxes:
    """N boxes: (N, 4) float32 x1, y1, x2, y2; track ids (N,) int64, -1 for none; classes (N,) int64 or None."""

    xyxy: BoxArray
    track_ids: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceFrame:
    """`number` increases from frame to frame. `name`: the file's, for people."""

    number: int
    name: str
    image: Image
    boxes: FrameBoxes


class SourceCutShort(FileError):
    """A source ended before its time: the frames that came are right, and others are missing."""


def no_boxes() -> FrameBoxes:
    """No boxes."""
    return FrameBoxes(xyxy=np.zeros((0, 4), np.float32), track_ids=np.zeros(0, np.int64))
