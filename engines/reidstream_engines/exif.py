"""What a picture's EXIF says about how it is to be turned.

Why: phones and some cameras store pixels as the sensor reads them, and say in a tag how to turn them. `cv2.imread` and
most viewers turn; so do the detectors that use them, and their boxes lie in the turned picture. A server that ignores
the tag then crops something else.

Trap: EXIF is written by anybody. A tag that cannot be read is no error: the picture is as it is stored.
"""

from __future__ import annotations

import struct

from .header_steps import HeaderSteps
from .image import Orientation

_ORIENTATION_TAG = 0x0112
_SHORT, _LONG = 3, 4
_MOST_ENTRIES = 256
_ENTRY_BYTES = 12
_HEADER_BYTES = 8


_NUMBERS = {one.value: one for one in Orientation}


def read_exif(data: bytes, at: int, steps: HeaderSteps) -> Orientation:
    """The orientation in the EXIF record (a TIFF header and its directory) at byte `at`; AS_STORED if it has none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[at : at + 4])
    if order is None or at + _HEADER_BYTES > len(data):
        return Orientation.AS_STORED
    (offset,) = struct.unpack_from(order + "I", data, at + 4)
    directory = at + offset
    if directory + 2 > len(data):
        return Orientation.AS_STORED
    (entries,) = struct.unpack_from(order + "H", data, directory)
    for number in steps.up_to(min(entries, _MOST_ENTRIES)):
        entry = directory + 2 + _ENTRY_BYTES * number
        if entry + _ENTRY_BYTES > len(data):
            break
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        if tag == _ORIENTATION_TAG:
            if kind not in (_SHORT, _LONG) or count != 1:
                break
            (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, entry + 8)
            return _NUMBERS.get(value, Orientation.AS_STORED)
    return Orientation.AS_STORED
