"""A video file, decoded by OpenCV and sent as raw BGR frames.

Why raw: encoding the frames again would change the vectors. Trap: OpenCV is optional, so it is imported here and
nowhere else, and only when a video is opened (`opencv` says what to do where that fails).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reidstream_client.errors import FileError

from .boxes_file import BoxTable
from .frames import SourceFrame
from .opencv import need_opencv


class Video:
    """A Source. Frames are numbered from 1."""

    def __init__(self, path: Path, boxes: BoxTable) -> None:
        need_opencv()
        import cv2  # noqa: PLC0415 - optional

        self._path = path
        self._boxes = boxes
        self._open = cv2.VideoCapture
        capture = self._open(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        opened = capture.isOpened()
        capture.release()
        if not opened:
            raise FileError(f"{path} cannot be opened as a video")
        self._total = count if count > 0 else None

    @property
    def total(self) -> int | None:
        """As the container says; None if it does not."""
        return self._total

    def __iter__(self) -> Iterator[SourceFrame]:
        capture = self._open(str(self._path))
        try:
            number = 1
            while True:
                there, image = capture.read()
                if not there:
                    return
                boxes = self._boxes.of(number, "")
                pixels = image.astype(np.uint8, copy=False)
                yield SourceFrame(number=number, name=f"frame {number}", image=pixels, boxes=boxes)
                number += 1
        finally:
            capture.release()
