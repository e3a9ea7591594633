"""A boxes file as lines, whoever saved it.

Traps: Windows programs begin a file with a byte-order mark, or write UTF-16; spreadsheets of some countries separate
columns by semicolons, since a comma is their decimal point.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from reidstream_client.errors import FileError

_LINE_END = re.compile(r"\r\n|\r|\n")  # JSON may hold other characters that end a line
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """`lines`: (number from 1, text) of all lines but empty ones and comments, which begin with `#`."""

    path: Path
    lines: tuple[tuple[int, str], ...]

    @property
    def separator(self) -> str | None:
        """What separates the columns of the first line; None: white space."""
        first = self.lines[0][1] if self.lines else ""
        return next((mark for mark in (";", ",", "\t") if mark in first), None)

    def cells(self, line: str) -> list[str]:
        """A line's columns, without the space around them. One separator at its end is no column."""
        mark = self.separator
        cells = [cell.strip() for cell in line.split(mark)]
        return cells[:-1] if mark is not None and cells[-1] == "" else cells


def read_text(path: Path) -> Text:
    """Raises FileError for what cannot be read, or is no text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"the boxes file {path} cannot be read: {error.strerror}") from None
    try:
        decoded = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FileError(f"the boxes file {path} cannot be read: it is no text in UTF-8 ({error.reason})") from None
    if "\0" in decoded:
        raise FileError(f"the boxes file {path} cannot be read: it is no text; save it as CSV")
    lines = enumerate((line.strip() for line in _LINE_END.split(decoded)), 1)
    return Text(path=path, lines=tuple((number, line) for number, line in lines if line and line[0] != "#"))
