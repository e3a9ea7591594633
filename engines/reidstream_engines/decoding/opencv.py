"""PNG and WebP, decoded by OpenCV (libpng and libwebp), always whole.

Trap: OpenCV answers None for a file that it cannot decode and raises for others; both become InvalidImage here.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never

from reidstream_engines.errors import InvalidImage
from reidstream_engines.image import EncodedImage, ImageFormat, Orientation

from .lossless_webp import check_groups
from .png import critical_chunks
from .turning import turn_pixels

Bytes = npt.NDArray[np.uint8]

_CHANNELS = 3
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_whole(image: EncodedImage) -> Bytes:
    """The BGR pixels of a PNG or WebP, uint8 (H, W, 3), turned if it asks for it, in new memory. Other threads run
    meanwhile.

    Raises InvalidImage for a picture that does not decode to its last row.
    """
    name = image.format.name
    try:
        decoded = cv2.imdecode(np.frombuffer(_data(image), np.uint8), _FLAGS)
    except cv2.error as error:
        raise InvalidImage(f"{name} cannot be decoded: {error.err}") from error
    if decoded is None:
        raise InvalidImage(f"{name} cannot be decoded to its end: it is truncated or damaged")
    pixels = np.asarray(decoded, np.uint8)
    across, down = image.stored_size
    if pixels.shape != (down, across, _CHANNELS):
        height, width = pixels.shape[:2]
        raise InvalidImage(f"the header says {across} x {down} pixels, the picture has {width} x {height}")
    if image.turn is Orientation.AS_STORED:
        return pixels
    turned = np.empty((image.height, image.width, _CHANNELS), np.uint8)
    turn_pixels(pixels, image.turn, turned)
    return turned


def limit_threads(count: int) -> None:
    """How many threads OpenCV may use for one call, in the whole process. By itself it asks only the machine."""
    cv2.setNumThreads(count)


def _data(image: EncodedImage) -> bytes:
    match image.format:
        case ImageFormat.PNG:
            return critical_chunks(image.data)
        case ImageFormat.WEBP:
            if image.lossless is not None:
                check_groups(image.data, *image.stored_size, image.lossless)
            return image.data
        case ImageFormat.JPEG:
            return image.data
        case _:
            assert_never(image.format)
