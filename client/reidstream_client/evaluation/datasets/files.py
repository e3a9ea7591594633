"""Image files of a folder, and whether a file is whole.

Why without a decoder: the client has none, and the server decodes anyway. Traps: a JPEG that was cut short while it was
copied has a good header, and many decoders fill the rest with grey, whose vectors look right. So the end of the file is
looked at, too. Cameras write bytes of their own behind a picture's end, which is no damage; and a preview in EXIF has
an end of its own, so only one behind the last scan counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reidstream_client.errors import FileError
from reidstream_client.frames.encoded_size import encoded_size

IMAGES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})

_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_END: Final = b"\xff\xd9"
_PNG_END: Final = b"IEND"
_RIFF_HEADER: Final = 8


def image_files(folder: Path, *, deep: bool = False) -> list[Path]:
    """The image files of a folder in the order of their names; `deep`: of the folders in it, too. Raises FileError."""
    if not folder.is_dir():
        raise FileError(f"{folder} is no folder")
    try:
        found = folder.rglob("*") if deep else folder.iterdir()
        return sorted(
            path for path in found if path.suffix.lower() in IMAGES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}") from None


def read_file(path: Path) -> bytes:
    """Raises FileError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None


def damage(data: bytes) -> str:
    """What is wrong with an image file; empty if nothing shows without decoding it."""
    if not data:
        return "the file is empty"
    size = encoded_size(data)
    if size is None:
        return "it is no JPEG, PNG or WebP, or its header is cut short"
    if min(size) == 0:
        return f"its header says {size[0]} x {size[1]} pixels"
    if data.startswith(b"\xff\xd8"):
        whole = -1 < data.rfind(_JPEG_SCAN) < data.rfind(_JPEG_END)
    elif data.startswith(b"RIFF"):
        whole = len(data) >= _RIFF_HEADER + int.from_bytes(data[4:8], "little")
    else:
        whole = _PNG_END in data
    return "" if whole else "the file is cut short: its end is missing"
