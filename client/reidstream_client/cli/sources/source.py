"""The Protocol that sources satisfy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .frames import SourceFrame
from .pairing import Pairing


class Source(Protocol):
    """Frames in order; their files are read while iterating.

    Raises FileError: where a file cannot be read, at the end if no frame met its boxes, and SourceCutShort.
    """

    @property
    def pairing(self) -> Pairing | None:
        """Which boxes met their frame; None for a source without boxes."""
        ...

    @property
    def total(self) -> int | None:
        """How many frames; None if unknown."""
        ...

    @property
    def longest_name(self) -> int:
        """The most letters that the name of a frame has."""
        ...

    def __iter__(self) -> Iterator[SourceFrame]: ...
