"""Pictures small enough to be in a page, as data addresses.

Pillow makes them small, and cuts boxes out of frames (the extra `evaluate`). Without it, a small file is put in as it
is, and anything else is told in words. Trap: a report of a large set must not become a file of a gigabyte.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from types import ModuleType
from typing import Final

from reidstream_client.errors import FileError
from reidstream_client.evaluation.datasets.files import read_file
from reidstream_client.evaluation.pictures import Pictures
from reidstream_client.frames.encoded_size import file_kind

_SIZE: Final = (96, 192)
_SMALL_BYTES: Final = 32 << 10
_QUALITY: Final = 85


def thumbnail(pictures: Pictures, row: int) -> str | None:
    """A `data:` address of one picture; None if it cannot be shown without Pillow, or not read any more."""
    try:
        data = read_file(Path(pictures.paths[int(pictures.files[row])]))
    except FileError:
        return None
    pillow = _pillow()
    if pillow is not None:
        box = None if pictures.boxes is None else tuple(round(float(side)) for side in pictures.boxes[row])
        return _made_small(pillow, data, box)
    kind = file_kind(data[:16])
    if pictures.boxes is not None or len(data) > _SMALL_BYTES or kind is None:
        return None
    return _address(data, kind.lower())


def _made_small(pillow: ModuleType, data: bytes, box: tuple[int, ...] | None) -> str | None:
    try:
        with pillow.open(io.BytesIO(data)) as file:
            picture = file.convert("RGB")
            if box is not None:
                x1, y1, x2, y2 = box
                inside = max(0, x1), max(0, y1), min(picture.width, x2), min(picture.height, y2)
                if inside[0] >= inside[2] or inside[1] >= inside[3]:
                    return None
                picture = picture.crop(inside)
            picture.thumbnail(_SIZE)
            small = io.BytesIO()
            picture.save(small, "JPEG", quality=_QUALITY)
    except (OSError, ValueError):
        return None
    return _address(small.getvalue(), "jpeg")


def _pillow() -> ModuleType | None:
    try:
        import PIL.Image  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return PIL.Image


def _address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
