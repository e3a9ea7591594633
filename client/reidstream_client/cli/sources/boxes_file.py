"""Boxes from a file, by frame: MOTChallenge text, CSV with a header, or JSON lines.

Trap: the three have different conventions. MOTChallenge rows are left, top, width, height, and are used as they are:
their pixel coordinates are 1-based, but no 1 is subtracted, since detections and published vectors use the raw values.
CSV and JSON lines name their columns.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from reidstream_client.errors import FileError, InvalidRequest
from reidstream_client.frames.boxes import from_ltwh, parse_boxes

from .frames import FrameBoxes, no_boxes

FrameKey: TypeAlias = "int | str"  # a frame's number, or its image's file name

_CONSIDERED, _CLASS, _VISIBILITY = 6, 7, 8
_MIN_COLUMNS = 6
_TRUTH_COLUMNS: Final = (8, 9)
_CORNERS: Final = ("x1", "y1", "x2", "y2")
_LTWH: Final = ("left", "top", "width", "height")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTable:
    """Boxes of a source, by frame number or image name."""

    path: Path
    frames: Mapping[FrameKey, FrameBoxes]

    def of(self, number: int, name: str) -> FrameBoxes:
        """A frame's boxes; none if the file has no boxes for it."""
        return self.frames.get(number) or self.frames.get(name) or no_boxes()


def read_boxes(path: Path, *, min_visibility: float) -> BoxTable:
    """By its name: .jsonl is JSON lines, .csv with a header line is CSV, all else is MOTChallenge text."""
    try:
        if path.suffix.lower() in {".jsonl", ".ndjson"}:
            frames = _json_lines(path)
        elif path.suffix.lower() == ".csv" and _has_header(path):
            frames = _csv(path)
        else:
            return read_mot(path, min_visibility=min_visibility)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"the boxes file {path} cannot be read: {error}") from None
    if min_visibility:
        raise FileError(f"--min-visibility needs MOTChallenge ground truth; {path} has no visibility")
    return BoxTable(path=path, frames=frames)


def read_mot(path: Path, *, min_visibility: float) -> BoxTable:
    """MOTChallenge rows: frame, id, left, top, width, height, and then by the number of columns.

    8 or 9 columns are ground truth (considered, class, visibility): rows with considered 1 and class 1 (pedestrian)
    and at least the visibility. Any other number is detections or tracks (confidence, ...): all rows.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, _VISIBILITY + 1))
    except (OSError, ValueError) as error:
        raise FileError(f"the boxes file {path} cannot be read: {error}") from None
    if rows.size and rows.shape[1] < _MIN_COLUMNS:
        raise FileError(f"{path} has {rows.shape[1]} columns; expected frame,id,left,top,width,height,...")
    if rows.size and rows.shape[1] in _TRUTH_COLUMNS:
        rows = rows[(rows[:, _CONSIDERED] == 1) & (rows[:, _CLASS] == 1)]
    if min_visibility:
        if rows.shape[1] != _VISIBILITY + 1:
            raise FileError(f"--min-visibility needs ground truth with a ninth column; {path} has {rows.shape[1]}")
        rows = rows[rows[:, _VISIBILITY] >= min_visibility]
    frames: dict[FrameKey, FrameBoxes] = {}
    for number in np.unique(rows[:, 0]) if rows.size else ():
        own = rows[rows[:, 0] == number]
        frames[int(number)] = FrameBoxes(xyxy=from_ltwh(own[:, 2:6]), track_ids=own[:, 1].astype(np.int64))
    return BoxTable(path=path, frames=frames)


@dataclass(slots=True)
class _Rows:
    """A frame's boxes while they are read."""

    boxes: list[list[float]] = field(default_factory=list)
    track_ids: list[int] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)


def _has_header(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return "frame" in first or "image" in first


def _csv(path: Path) -> dict[FrameKey, FrameBoxes]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = set(reader.fieldnames or ())
        names = _CORNERS if columns.issuperset(_CORNERS) else _LTWH
        if not columns.issuperset(names) or not columns & {"frame", "image"}:
            raise FileError(
                f"{path} needs columns frame or image, and x1,y1,x2,y2 or left,top,width,height; has {sorted(columns)}"
            )
        frames: defaultdict[FrameKey, _Rows] = defaultdict(_Rows)
        for line in reader:
            try:
                rows = frames[int(line["frame"]) if "frame" in columns else line["image"]]
                rows.boxes.append([float(line[name]) for name in names])
                rows.track_ids.append(int(line.get("track_id") or -1))
                if line.get("class_id"):
                    rows.class_ids.append(int(line["class_id"]))
            except (TypeError, ValueError) as error:
                raise FileError(f"{path}, line {reader.line_num}: {error}") from None
    return _finish(path, ((key, rows, names is _LTWH) for key, rows in frames.items()))


def _json_lines(path: Path) -> dict[FrameKey, FrameBoxes]:
    found: list[tuple[FrameKey, _Rows, bool]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                key = entry["frame"] if "frame" in entry else entry["image"]
                rows = _Rows(entry["boxes"], entry.get("track_ids", []), entry.get("class_ids", []))
                found.append((int(key) if "frame" in entry else str(key), rows, entry.get("format", "xyxy") == "ltwh"))
            except (KeyError, TypeError, ValueError) as error:
                raise FileError(
                    f'{path}, line {number}: {error!r}; expected {{"frame": 1, "boxes": [[x1, y1, x2, y2], ...]}}'
                ) from None
    return _finish(path, found)


def _finish(path: Path, found: Iterable[tuple[FrameKey, _Rows, bool]]) -> dict[FrameKey, FrameBoxes]:
    frames: dict[FrameKey, FrameBoxes] = {}
    for key, rows, ltwh in found:
        try:
            xyxy = from_ltwh(rows.boxes) if ltwh else parse_boxes(rows.boxes)
            track_ids = np.array(rows.track_ids or [-1] * len(xyxy), np.int64)
            class_ids = np.array(rows.class_ids, np.int64) if rows.class_ids else None
        except (InvalidRequest, ValueError, TypeError) as error:
            raise FileError(f"{path}, frame {key}: {error}") from None
        for name, column in (("track_ids", track_ids), ("class_ids", class_ids)):
            if column is not None and column.shape != (len(xyxy),):
                raise FileError(f"{path}, frame {key}: {len(column)} {name} for {len(xyxy)} boxes")
        if key in frames:
            raise FileError(f"{path} has frame {key} twice")
        frames[key] = FrameBoxes(xyxy=xyxy, track_ids=track_ids, class_ids=class_ids)
    return frames
