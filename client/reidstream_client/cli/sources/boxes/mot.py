"""MOTChallenge text: frame, id, left, top, width, height, and then ground truth, detections or a tracker's results.

Traps: pixel coordinates are 1-based, but no 1 is subtracted, since detections and published vectors use the raw values.
And trackers write 8 or 9 columns too, with their confidence where ground truth says whether a row is considered. Read
as ground truth, nearly all of their rows would be left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import numpy as np
import numpy.typing as npt

from reidstream_client.cli.sources.frames import FrameBoxes
from reidstream_client.errors import FileError
from reidstream_client.frames.boxes import from_ltwh

from .table import BoxTable, FrameKey, check_pixels
from .text import Text
from .unreadable import refuse_yolo

Numbers = npt.NDArray[np.float64]

_CONSIDERED, _CLASS, _VISIBILITY = 6, 7, 8
_MIN_COLUMNS = 6
_TRUTH_COLUMNS = (8, 9)
_PEDESTRIAN = 1
_LARGEST = 2**53  # above it a float names no whole number


class Use(Enum):
    """What rows of MOTChallenge text are."""

    GT = "gt"
    """Ground truth: only rows with considered 1 and class 1 (pedestrian) count."""
    DET = "det"
    """Detections, or a tracker's results: all rows."""


def read_mot(text: Text, use: Use | None, *, min_visibility: float) -> BoxTable:
    """Rows with their number of columns: 8 or 9 can be ground truth, any other number is detections or results.

    `use` None: ground truth if the file is called gt.txt, or if column 7 holds only 0 and 1 and column 8 only classes,
    which are 1 or more. Raises FileError, naming the line.
    """
    path, rows = text.path, _numbers(text)
    if rows.size and rows.shape[1] < _MIN_COLUMNS:
        refuse_yolo(path, rows)
        raise FileError(f"{path} has {rows.shape[1]} columns; expected frame,id,left,top,width,height,...")
    if rows.size:
        refuse_yolo(path, rows)
        _check_whole(text, rows[:, 0], "frame")
        _check_whole(text, rows[:, 1], "id")
    truth = _is_truth(text, rows, use)
    if min_visibility and (not truth or rows.shape[1] != _VISIBILITY + 1):
        raise FileError(f"--min-visibility needs ground truth with a ninth column; {path} has none")
    notes: tuple[str, ...] = ()
    if truth and rows.size:
        kept = rows[(rows[:, _CONSIDERED] == 1) & (rows[:, _CLASS] == _PEDESTRIAN)]
        if min_visibility:
            kept = kept[kept[:, _VISIBILITY] >= min_visibility]
        notes = _left_out(text, len(rows), len(kept), use, min_visibility)
        rows = kept
    frames: dict[FrameKey, FrameBoxes] = {
        number: FrameBoxes(xyxy=from_ltwh(own[:, 2:6]), track_ids=own[:, 1].astype(np.int64))
        for number, own in _by_frame(rows)
    }
    check_pixels(path, (boxes.xyxy for boxes in frames.values()))
    return BoxTable(path=path, frames=frames, notes=notes)


def _is_truth(text: Text, rows: Numbers, use: Use | None) -> bool:
    if rows.size and rows.shape[1] not in _TRUTH_COLUMNS:
        return False
    if use is not None:
        return use is Use.GT
    if not rows.size or text.path.name == "gt.txt":
        return True
    classes = rows[:, _CLASS]
    return bool(np.isin(rows[:, _CONSIDERED], (0, 1)).all() and ((classes >= 1) & (np.floor(classes) == classes)).all())


def _left_out(text: Text, rows: int, kept: int, use: Use | None, min_visibility: float) -> tuple[str, ...]:
    if kept == rows:
        return ()
    why = "considered is not 1 or class is not 1"
    if min_visibility:
        why += f", or visibility is below {min_visibility:g}"
    hint = "" if use is not None else "; --use det takes all rows"
    return (f"{text.path} is read as ground truth: {rows - kept} of {rows} rows are left out, since {why}{hint}",)


def _numbers(text: Text) -> Numbers:
    if not text.lines:
        return np.zeros((0, _VISIBILITY + 1))
    mark = text.separator
    lines = [line if mark is None else line.removesuffix(mark) for _, line in text.lines]
    try:
        return np.loadtxt(lines, delimiter=mark, ndmin=2, comments=None)
    except ValueError:
        raise FileError(_fault(text)) from None


def _fault(text: Text) -> str:
    """Which line is wrong, and how. Slow, and only for a file that is."""
    columns = len(text.cells(text.lines[0][1]))
    for number, line in text.lines:
        cells = text.cells(line)
        for cell in cells:
            try:
                float(cell)
            except ValueError:
                comma = "; numbers need a decimal point" if "," in cell else ""
                return f"the boxes file {text.path} cannot be read: line {number}: {cell!r} is not a number{comma}"
        if len(cells) != columns:
            return (
                f"the boxes file {text.path} cannot be read: line {number} has {len(cells)} columns, "
                f"line {text.lines[0][0]} has {columns}"
            )
    return f"the boxes file {text.path} cannot be read: its rows are not numbers"


def _check_whole(text: Text, column: Numbers, name: str) -> None:
    wrong = ~((np.abs(column) <= _LARGEST) & (np.floor(column) == column))
    if wrong.any():
        at = int(wrong.argmax())
        raise FileError(
            f"{text.path}, line {text.lines[at][0]}: {name} must be a whole number, not {column[at]:g}; "
            "expected frame,id,left,top,width,height,..."
        )


def _by_frame(rows: Numbers) -> Iterator[tuple[int, Numbers]]:
    """Each frame's rows, in the file's order."""
    if not rows.size:
        return
    ordered = rows[rows[:, 0].argsort(kind="stable")]
    numbers, starts = np.unique(ordered[:, 0], return_index=True)
    for number, own in zip(numbers, np.split(ordered, starts[1:]), strict=True):
        yield int(number), own
