"""Boxes from a file, by frame: what other tools write is read where it can mean one thing only.

    table         boxes by frame number or image name, and what was left out of a file
    text          a file's lines, and what separates its columns
    mot           MOTChallenge text: ground truth, detections, results of trackers
    columns       text whose first line names its columns
    json_boxes    JSON lines, and COCO
    unreadable    what is named, with its next step, and not read

Trap: a file's name says little. Tools call CSV `.txt` and COCO `.json`, so the content decides what a file is.
"""

from __future__ import annotations

from pathlib import Path

from reidstream_client.errors import FileError

from .columns import has_header, read_columns
from .json_boxes import read_json
from .mot import Use, read_mot
from .table import BoxTable, FrameKey
from .text import Text, read_text
from .unreadable import refuse_foreign

__all__ = ["BoxTable", "FrameKey", "Use", "read_boxes"]


def read_boxes(path: Path, *, use: Use | None = None, min_visibility: float = 0) -> BoxTable:
    """Read a boxes file of any known kind. Raises FileError with the line, or with what to convert.

    `use`: what rows of MOTChallenge text are. `min_visibility` needs ground truth, which has a visibility.
    """
    refuse_foreign(path)
    text = read_text(path)
    table = _read_plain(text)
    if table is None:
        return read_mot(text, use, min_visibility=min_visibility)
    if use is Use.GT or min_visibility:
        option = "--min-visibility" if min_visibility else "--use gt"
        raise FileError(f"{option} needs MOTChallenge ground truth; {path} has none")
    return table


def _read_plain(text: Text) -> BoxTable | None:
    """The boxes of what names its own columns; None for rows of numbers."""
    first = text.lines[0][1] if text.lines else ""
    if text.path.suffix.lower() in {".json", ".jsonl", ".ndjson"} or first.startswith(("{", "[")):
        return read_json(text)
    return read_columns(text) if first and has_header(text) else None
