"""Lines with a style, for a terminal or for a file.

Why the style is apart: a file gets the text alone, and what is shown can be tested without a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Style(Enum):
    """The values are what a terminal is sent before the line."""

    PLAIN = ""
    BOLD = "\x1b[1m"
    MARKED = "\x1b[7m"
    ALERT = "\x1b[1;31m"
    FAINT = "\x1b[2m"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, without its end."""

    text: str
    style: Style = Style.PLAIN


def as_text(lines: list[Line]) -> str:
    """For people who read a file."""
    return "\n".join(line.text.rstrip() for line in lines)
