"""Numbers, times and foreign names as text.

Trap: names come from clients, and a terminal obeys what it is shown. So nothing that is not printable is written as it
is, and a name takes the columns that it seems to take.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NOTHING: Final = "-"
_STEP: Final = 1000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def name(text: str) -> str:
    """A foreign name, with escapes for what a terminal would obey. "-" for none."""
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text) or NOTHING


def columns_of(text: str) -> int:
    """How many columns of a terminal printable text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """The text, or its beginning with a mark behind it, so that it takes so many columns at most."""
    if columns_of(text) <= columns:
        return text
    taken, kept = 1, ""  # the mark
    for letter in text:
        taken += _columns(letter)
        if taken > columns:
            break
        kept += letter
    return kept + "~" if columns > 0 else ""


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """The text in a field of so many columns, cut if it must be."""
    fit = cut(text, columns)
    space = " " * (columns - columns_of(fit))
    return space + fit if right else fit + space


def rate(value: float | None) -> str:
    """Something a second."""
    return NOTHING if value is None else f"{value:.1f}"


def percent(value: float | None) -> str:
    """A share of a hundred."""
    return NOTHING if value is None else f"{value:.1f}"


def milliseconds(seconds: float | None) -> str:
    """A time of a frame."""
    if seconds is None:
        return NOTHING
    return f"{seconds * 1000:.1f}" if seconds < 1 else f"{seconds * 1000:.0f}"


def duration(seconds: float) -> str:
    """How long something has been so."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{seconds:.1f}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m{whole % _MINUTE_S:02}s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d{whole % _DAY_S // _HOUR_S:02}h"


def count(value: float) -> str:
    """A number of anything, short."""
    for unit in ("", "k", "M"):
        if value < _STEP * 10:
            return f"{value:.0f}{unit}"
        value /= _STEP
    return f"{value:.0f}G"


def mebibytes(value: float) -> str:
    """Bytes, in MiB."""
    return f"{value / 2**20:.1f}"


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")
