"""What libjpeg's warnings mean: which of them leave the pixels whole, and which do not.

Why messages are read: the decoders give no number. Each stops at the first warning, and its message is all that is
known. So a harmless warning hides those after it: whoever goes on must look for damage in another way (`restarts.py`).
Trap: the words are libjpeg's own and have been the same since 1998, but a system may bring a library that we have not
seen; an unknown message counts as damage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from reidstream_engines.errors import InvalidImage

MOST_JUNK = 64
"""The most bytes of junk before a restart marker or the end marker; of zeros, any number. Cameras leave up to a dozen.
A decoder that lost its way in damaged data may leave hundreds."""

_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_HARMLESS = ("bad ICC marker", "unknown JFIF revision", "Unknown Adobe color transform", "Invalid SOS parameters")
_RESTARTS, END = range(0xD0, 0xD8), 0xD9


class Complaint(InvalidImage):
    """A decoder refused a JPEG; `text` is its first message."""

    def __init__(self, text: str) -> None:
        super().__init__(f"JPEG cannot be decoded to its end: {text}")
        self.text = text


class Meaning(Enum):
    """HEADER: the header is odd, but clear. JUNK: bytes that belong to nothing stand within or behind the image data.
    DAMAGE: pixels are missing or wrong.
    """

    HEADER = "header"
    JUNK = "junk"
    DAMAGE = "damage"


@dataclass(frozen=True, slots=True)
class Junk:
    """So many bytes before this marker."""

    count: int
    marker: int

    def harmless(self, data: bytes) -> bool:
        """Whether a camera may have left it; `data` ends where the marker begins."""
        return self.count <= MOST_JUNK or not data[-self.count :].strip(b"\0")


def meaning(complaint: Complaint) -> Meaning:
    """What a complaint is about."""
    if any(words in complaint.text for words in _HARMLESS):
        return Meaning.HEADER
    junk = junk_of(complaint)
    if junk is None:
        return Meaning.DAMAGE
    return Meaning.JUNK if junk.marker in (*_RESTARTS, END) else Meaning.HEADER


def junk_of(complaint: Complaint) -> Junk | None:
    """The junk that a complaint speaks of; None if it speaks of something else."""
    found = _EXTRANEOUS.search(complaint.text)
    return None if found is None else Junk(int(found[1]), int(found[2], 16))
