"""Which boxes met their frame: the books of a run.

Why: boxes of frames that never come, and frames that no boxes name, are the sign of two numberings that do not fit.
Trap: a source may be cut short by Ctrl-C or by the server. Only one that came to its end knows what was missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reidstream_client.errors import FileError

from .boxes import BoxTable, FrameKey
from .frames import FrameBoxes, no_boxes

_SHOWN = 8


class Pairing:
    """Gives each frame its boxes, and counts."""

    def __init__(self, table: BoxTable) -> None:
        self.table = table
        self._met: set[FrameKey] = set()
        self._bare: list[int] = []
        self._frames = 0
        self._first = ""
        self._last = ""
        self._complete = False

    @property
    def numbers(self) -> list[int]:
        """Of the frames that the file has boxes for, ascending; without those that are named."""
        return sorted(key for key in self.table.frames if isinstance(key, int))

    def boxes_of(self, number: int, name: str) -> FrameBoxes:
        """A frame's boxes, by its number or else its image's name; none if the file has none for it."""
        key: FrameKey = number if number in self.table.frames else name
        boxes = self.table.frames.get(key) or no_boxes()
        if key in self.table.frames:
            self._met.add(key)
        if not len(boxes.xyxy):
            self._bare.append(number)
        shown = f"{number} ({name})" if name else str(number)
        self._first = self._first or shown
        self._last = shown
        self._frames += 1
        return boxes

    def end(self) -> None:
        """The source has come to its end. Raises FileError if no frame met its boxes."""
        self._complete = True
        if not self._met:
            raise FileError(self.unmet(self._first, self._last))

    def unmet(self, first: str, last: str) -> str:
        """Why this is not a run: no frame, from `first` to `last`, has an entry in the file."""
        table = self.table
        notes = "".join(f" ({note})" for note in table.notes)
        if not table.frames:
            return f"{table.path} has no boxes{notes}"
        return (
            f"no frame has boxes in {table.path}: its frames are {_names(table.frames)}, those of the source are "
            f"{first} to {last}; --first-frame N says which number the source's first frame has in that file{notes}"
        )

    def lines(self) -> list[str]:
        """What people should know: rows that were left out and, at the end, boxes and frames that met nobody."""
        lines = list(self.table.notes)
        if not self._complete:
            return lines
        lost = [key for key in self.table.frames if key not in self._met and len(self.table.frames[key].xyxy)]
        if lost:
            boxes = sum(len(self.table.frames[key].xyxy) for key in lost)
            lines.append(f"boxes without a frame: {boxes} (of frames {_names(lost)})")
        if self._bare:
            lines.append(f"frames without boxes: {len(self._bare)} of {self._frames} ({_names(self._bare)})")
        return lines


def _names(keys: Collection[FrameKey]) -> str:
    """1 to 4, 7, a.jpg; shortened where there are many."""
    numbers = sorted(key for key in keys if isinstance(key, int))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    texts = [(", " if run[-1] == run[0] + 1 else " to ").join(map(str, run)) for run in runs]
    return _shortened([*texts, *sorted(key for key in keys if isinstance(key, str))])


def _shortened(texts: Sequence[str]) -> str:
    if len(texts) <= _SHOWN:
        return ", ".join(texts)
    return ", ".join([*texts[: _SHOWN - 1], "...", texts[-1]])
