"""A folder of image files, sent as they are.

If all file names are numbers, as in MOTChallenge, they are the frames' numbers and may have gaps. Otherwise a frame's
number is its place in the order of names, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.frames.encoded_size import encoded_size

from .boxes_file import BoxTable
from .frames import FrameBoxes, SourceFrame

_IMAGES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class ImageFolder:
    """A Source. Without boxes, each whole image is one box."""

    def __init__(self, folder: Path, boxes: BoxTable | None) -> None:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGES)
        if not files:
            raise FileError(f"{folder} contains no images ({', '.join(sorted(_IMAGES))})")
        if all(path.stem.isdecimal() for path in files):
            self._files = {int(path.stem): path for path in sorted(files, key=lambda path: int(path.stem))}
            if len(self._files) != len(files):
                raise FileError(f"{folder} contains two images with the same number")
        else:
            self._files = dict(enumerate(files, 1))
        keys = {*self._files, *(path.name for path in files)}
        if boxes is not None and boxes.frames and boxes.frames.keys().isdisjoint(keys):
            raise FileError(
                f"{boxes.path} has no boxes for the images of {folder}: its frame numbers or names do not match theirs"
            )
        self._boxes = boxes

    @property
    def total(self) -> int:
        """Images in the folder."""
        return len(self._files)

    def __iter__(self) -> Iterator[SourceFrame]:
        for number, path in self._files.items():
            try:
                data = path.read_bytes()
            except OSError as error:
                raise FileError(f"{path} cannot be read: {error}") from None
            boxes = whole_image(data) if self._boxes is None else self._boxes.of(number, path.name)
            yield SourceFrame(number=number, name=path.name, image=data, boxes=boxes)


def whole_image(data: bytes) -> FrameBoxes:
    """One box around a whole image file; an empty box if its size cannot be read (the server then says why)."""
    width, height = encoded_size(data) or (0, 0)
    return FrameBoxes(xyxy=np.array([[0, 0, width, height]], np.float32), track_ids=np.array([-1], np.int64))
