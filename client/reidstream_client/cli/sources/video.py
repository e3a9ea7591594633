"""A video file, decoded by OpenCV and sent as raw BGR frames, or as JPEG if that is asked for.

Why raw: encoding the frames again changes the vectors. Traps: OpenCV is optional, so it is imported here and nowhere
else, and only when a video is opened (`opencv` says what to do where that fails). And OpenCV does not tell the end of a
video from a fault in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from reidstream_client.errors import FileError
from reidstream_client.frames.images import Image, PixelArray

from .boxes import BoxTable
from .frames import SourceCutShort, SourceFrame
from .opencv import need_opencv
from .pairing import Pairing

_MISSING_FRAMES: Final = 2  # containers count a little too many
_MISSING_PART: Final = 0.02
_OF_A_SHORT_ONE: Final = 0.2
_NAME: Final = "frame {}"


class Video:
    """A Source. Frames are numbered from `first_frame`; None: from 1, or from 0 where the boxes have a frame 0.

    `jpeg_quality`: 1 to 100, frames are sent as JPEG; None: as they were decoded.
    """

    def __init__(
        self, path: Path, boxes: BoxTable, first_frame: int | None = None, jpeg_quality: int | None = None
    ) -> None:
        need_opencv()
        import cv2  # noqa: PLC0415 - optional

        self._cv2 = cv2
        self._path = path
        self.pairing = Pairing(boxes)
        self._first = int(0 not in boxes.frames) if first_frame is None else first_frame
        self._quality = jpeg_quality
        capture = cv2.VideoCapture(str(path))
        opened, count, fps = capture.isOpened(), capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not opened:
            raise FileError(f"{path} cannot be opened as a video")
        self._total = int(count) if count > 0 else None
        self._duration_ms = count / fps * 1000 if count > 0 and fps > 0 else 0.0

    @property
    def total(self) -> int | None:
        """As the container says; None if it does not."""
        return self._total

    @property
    def longest_name(self) -> int:
        """Of any number."""
        return len(_NAME.format(1 << 63))

    def __iter__(self) -> Iterator[SourceFrame]:
        cv2 = self._cv2
        capture = cv2.VideoCapture(str(self._path))
        try:
            count, reached_ms = 0, 0.0
            while True:
                there, pixels = capture.read()
                if not there:
                    break
                number = self._first + count
                boxes = self.pairing.boxes_of(number, "")
                image = self._image(pixels.astype(np.uint8, copy=False))
                yield SourceFrame(number=number, name=_NAME.format(number), image=image, boxes=boxes)
                count += 1
                reached_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        finally:
            capture.release()
        self._check_end(count, reached_ms)
        self.pairing.end()

    def _image(self, pixels: PixelArray) -> Image:
        if self._quality is None:
            return pixels
        encoded, data = self._cv2.imencode(".jpg", pixels, [self._cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not encoded:
            raise FileError(f"a frame of {self._path} cannot be encoded as JPEG; leave --jpeg-quality out")
        return data.tobytes()

    def _check_end(self, count: int, reached_ms: float) -> None:
        """Raises if the last frame is neither the last that the container counts nor at the end of its time.

        Both, since some containers only estimate how many frames they have.
        """
        if not count:
            raise FileError(f"{self._path} has no frame that can be decoded")
        total = self._total or count
        allowed = min(max(_MISSING_FRAMES, total * _MISSING_PART), total * _OF_A_SHORT_ONE)
        short_ms = self._duration_ms - reached_ms
        if total - count > allowed and short_ms > allowed / total * self._duration_ms:
            raise SourceCutShort(
                f"{self._path} ends after {count} of {total} frames: the file is cut short or damaged; copy it "
                "again, or repair it"
            )
