"""The numbers of frames, out of the names of their files.

A frame's number is the last number in its name, if every name has one and all differ: then a missing file shifts
nothing, and `frame_10.jpg` comes after `frame_9.jpg`. Otherwise frames are numbered by their place, in the order in
which people count. Trap: numbers by place and boxes by number fit together only by luck if the names have numbers of
their own, so such names are `unclear`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIGITS = re.compile(r"([0-9]+)")
_LARGEST = (1 << 63) - 1  # what the output can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """`files` by number, ascending. `by_place`: the numbers are places, from 0. `unclear`: which names are to blame."""

    files: Mapping[int, Path]
    by_place: bool
    unclear: str = ""


def number_files(files: Sequence[Path]) -> Numbering:
    """Number image files by their names."""
    ordered = sorted(files, key=lambda path: (_natural(path.name), path.name))
    numbers = [_last_number(path.stem) for path in ordered]
    named = {number: path for number, path in zip(numbers, ordered, strict=True) if number is not None}
    if len(named) == len(ordered):
        return Numbering(files=dict(sorted(named.items())), by_place=False)
    return Numbering(files=dict(enumerate(ordered)), by_place=True, unclear=_blame(ordered, numbers))


def _natural(name: str) -> list[tuple[int, str]]:
    """A name as people sort it: its numbers by their value."""
    parts = _DIGITS.split(name.casefold())
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]


def _last_number(stem: str) -> int | None:
    """Of `1305031102.175304`, a time, it is none."""
    found = _DIGITS.findall(stem)
    if not found or int(found[-1]) > _LARGEST or re.search(r"[0-9]\.[0-9]+$", stem):
        return None
    return int(found[-1])


def _blame(files: Sequence[Path], numbers: Sequence[int | None]) -> str:
    """Why the names that have numbers do not number the frames; empty if none has one."""
    counts = Counter(number for number in numbers if number is not None)
    if not counts:
        return ""
    often, count = counts.most_common(1)[0]
    if count > 1:
        first, second = [path.name for path, number in zip(files, numbers, strict=True) if number == often][:2]
        return f"{first} and {second} have the same number"
    with_number, without = (
        next(path.name for path, number in zip(files, numbers, strict=True) if (number is None) is lacks)
        for lacks in (False, True)
    )
    return f"{with_number} has a number and {without} has none"
