"""A folder of image files, sent as they are.

Trap: frames that are numbered from 0 beside boxes that are numbered from 1 nearly all meet a box, and each a wrong one.
Where the two ends say so, the folder is refused until `--first-frame` decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.frames.encoded_size import encoded_size
from reidstream_client.frames.orientation import exif_orientation, turned_size

from .boxes import BoxTable
from .frames import FrameBoxes, SourceFrame
from .numbering import Numbering, number_files
from .pairing import Pairing

_IMAGES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class ImageFolder:
    """A Source. Without boxes, each whole image is one box. `first_frame`: the first image's number; None: its name's,
    or else 1, or 0 where the boxes have a frame 0. `upright`: images will be turned as their EXIF says.
    """

    def __init__(
        self, folder: Path, boxes: BoxTable | None, first_frame: int | None = None, *, upright: bool = False
    ) -> None:
        files = [path for path in folder.iterdir() if path.suffix.lower() in _IMAGES and not path.name.startswith(".")]
        if not files:
            raise FileError(f"{folder} contains no images ({', '.join(sorted(_IMAGES))})")
        self.pairing = None if boxes is None else Pairing(boxes)
        self._upright = upright
        self._files = _numbered(folder, number_files(files), self.pairing, first_frame)
        if self.pairing is not None:
            _check(folder, self._files, self.pairing, decided=first_frame is not None)

    @property
    def total(self) -> int:
        """Images in the folder."""
        return len(self._files)

    @property
    def longest_name(self) -> int:
        """Of the files."""
        return max(len(path.name) for path in self._files.values())

    def __iter__(self) -> Iterator[SourceFrame]:
        for number, path in self._files.items():
            try:
                data = path.read_bytes()
            except OSError as error:
                raise FileError(f"{path} cannot be read: {error.strerror}") from None
            boxes = (
                whole_image(data, upright=self._upright)
                if self.pairing is None
                else self.pairing.boxes_of(number, path.name)
            )
            yield SourceFrame(number=number, name=path.name, image=data, boxes=boxes)
        if self.pairing is not None:
            self.pairing.end()


def whole_image(data: bytes, *, upright: bool) -> FrameBoxes:
    """One box around a whole image file; an empty box if its size cannot be read (the server then says why).

    `upright`: it will be turned as its EXIF says.
    """
    size = encoded_size(data) or (0, 0)
    width, height = turned_size(size, exif_orientation(data)) if upright else size
    return FrameBoxes(xyxy=np.array([[0, 0, width, height]], np.float32), track_ids=np.array([-1], np.int64))


def _numbered(folder: Path, names: Numbering, pairing: Pairing | None, first_frame: int | None) -> Mapping[int, Path]:
    """The files by the number that the boxes file has for them."""
    numbers = [] if pairing is None else pairing.numbers
    if pairing is not None and numbers and names.unclear:
        raise FileError(
            f"which image of {folder} is frame {numbers[0]} of {pairing.table.path}? {names.unclear}; rename the "
            "images, or name them in the boxes file: column (or key) image instead of frame"
        )
    first = next(iter(names.files))
    if first_frame is None:
        first_frame = first if not names.by_place else int(0 not in numbers)
    return {number - first + first_frame: path for number, path in names.files.items()}


def _check(folder: Path, files: Mapping[int, Path], pairing: Pairing, *, decided: bool) -> None:
    """Before anything is sent: does any image meet boxes, and are the two numbered alike?"""
    table, numbers = pairing.table, list(files)
    first, last = (f"{number} ({files[number].name})" for number in (numbers[0], numbers[-1]))
    names = {path.name for path in files.values()}
    if table.frames.keys().isdisjoint(names) and table.frames.keys().isdisjoint(files):
        raise FileError(pairing.unmet(first, last))
    boxed = pairing.numbers
    if decided or not boxed or {boxed[0], numbers[0]} != {0, 1}:
        return
    if boxed[-1] - numbers[-1] == boxed[0] - numbers[0]:
        raise FileError(
            f"the images of {folder} are numbered {first} to {last}, and the frames of {table.path} {boxed[0]} to "
            f"{boxed[-1]}: give --first-frame {boxed[0]} if both begin with the same frame, "
            f"or --first-frame {numbers[0]} if these numbers are right"
        )
