"""What a terminal sends for a key.

Trap: Escape is also the first byte of every arrow. A terminal sends the bytes of one key at once, so an Escape that
comes alone is the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final


class Key(Enum):
    """What a key means here."""

    QUIT = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    SORT_LEFT = auto()
    SORT_RIGHT = auto()
    REVERSE = auto()
    OPEN = auto()
    BACK = auto()
    LOOK = auto()


_KEYS: Final = {
    b"q": Key.QUIT,
    b"Q": Key.QUIT,
    b"k": Key.UP,
    b"j": Key.DOWN,
    b"<": Key.SORT_LEFT,
    b">": Key.SORT_RIGHT,
    b"h": Key.SORT_LEFT,
    b"l": Key.SORT_RIGHT,
    b"r": Key.REVERSE,
    b"g": Key.FIRST,
    b"G": Key.LAST,
    b"\r": Key.OPEN,
    b"\n": Key.OPEN,
    b" ": Key.LOOK,
    b"b": Key.BACK,
    b"\x7f": Key.BACK,
    b"\x08": Key.BACK,
    b"\x1b": Key.BACK,
    b"\x1b[A": Key.UP,
    b"\x1b[B": Key.DOWN,
    b"\x1b[C": Key.SORT_RIGHT,
    b"\x1b[D": Key.SORT_LEFT,
    b"\x1bOA": Key.UP,
    b"\x1bOB": Key.DOWN,
    b"\x1bOC": Key.SORT_RIGHT,
    b"\x1bOD": Key.SORT_LEFT,
    b"\x1b[5~": Key.PAGE_UP,
    b"\x1b[6~": Key.PAGE_DOWN,
    b"\x1b[H": Key.FIRST,
    b"\x1b[F": Key.LAST,
    b"\x1b[1~": Key.FIRST,
    b"\x1b[4~": Key.LAST,
}
_SEQUENCE: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|\x1b|.", re.DOTALL)


def keys_in(data: bytes) -> Iterator[Key]:
    """The keys that were pressed; what means nothing here is passed over."""
    for found in _SEQUENCE.findall(data):
        key = _KEYS.get(found)
        if key is not None:
            yield key
