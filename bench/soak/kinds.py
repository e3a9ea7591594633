"""Every kind of frame that a camera may send, good and bad, with the answer that must come back.

Most are small, so that 50,000 of them take only minutes. A few have full size: only those show a large buffer that is
not given back.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bench.load.pictures import HEIGHT, JPEG_BYTES, Pixels, compress, draw_scene
from reidstream_client import Crops, ErrorReason, Nv12, Outcome, PixelFormat, RawFrame
from reidstream_client.frames.images import Image

Boxes = npt.NDArray[np.float32]

SMALL_WIDTH, SMALL_HEIGHT = 320, 240
_PADDING, _OFFSET = 16, 64
_BOXES: Boxes = np.array([[10, 10, 60, 120], [100, 20, 160, 200], [200.5, 30.5, 260, 230]], np.float32)
_AMISS: Boxes = np.array([[10, 10, 60, 120], [900, 900, 950, 990], [60, 60, 20, 20], [5, 5, 5.2, 5.2]], np.float32)
_SCALE = HEIGHT / SMALL_HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What to send, and the expected `outcomes` of its boxes, or `error` of the whole frame. `often`: its weight."""

    name: str
    image: Image
    boxes: Boxes | None = None
    outcomes: tuple[Outcome, ...] = ()
    error: ErrorReason | None = None
    often: int = 8


def kinds(seed: int = 0) -> list[Kind]:
    """All kinds, cut from one drawn scene."""
    scene = draw_scene(np.random.default_rng(seed))
    small = np.asarray(cv2.resize(scene, (SMALL_WIDTH, SMALL_HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    return [*_encoded(scene, small), *_raw(scene, small), *_crops(small), *_bad(small)]


def _good(name: str, image: Image, boxes: Boxes = _BOXES, *, often: int = 8) -> Kind:
    return Kind(name=name, image=image, boxes=boxes, outcomes=(Outcome.EMBEDDED,) * len(boxes), often=often)


def _encoded(scene: Pixels, small: Pixels) -> list[Kind]:
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    twice = np.asarray(cv2.resize(small, None, fx=2, fy=2), np.uint8)
    return [
        _good("JPEG", _file(small, ".jpg"), often=16),
        _good("JPEG, 640x480", _file(twice, ".jpg"), 2 * _BOXES),
        _good("JPEG, grey", _file(grey, ".jpg")),
        _good("JPEG, progressive", _file(small, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        _good("JPEG, 1080p", compress(scene, JPEG_BYTES), _SCALE * _BOXES, often=4),
        _good("PNG", _file(small, ".png")),
        _good("WebP", _file(small, ".webp")),
    ]


def _raw(scene: Pixels, small: Pixels) -> list[Kind]:
    padded = np.pad(small, ((0, 0), (0, _PADDING), (0, 0)))
    rgb = np.pad(small[:, :, ::-1].reshape(SMALL_HEIGHT, -1), ((0, 0), (0, _PADDING)))
    luma_rows, chroma_rows = SMALL_HEIGHT, SMALL_HEIGHT // 2
    stride = SMALL_WIDTH + _PADDING
    nv12 = np.random.default_rng(0).integers(0, 256, (luma_rows + chroma_rows) * stride + 2 * _OFFSET, np.uint8)
    return [
        _good("raw BGR", small),
        _good("raw BGR with a stride", padded[:, :SMALL_WIDTH]),
        _good("raw BGR, 1080p", scene, _SCALE * _BOXES, often=2),
        _good(
            "raw RGB with a stride",
            RawFrame(
                data=bytes(_OFFSET) + rgb.tobytes(),
                width=SMALL_WIDTH,
                height=SMALL_HEIGHT,
                format=PixelFormat.RGB,
                stride=rgb.shape[1],
                offset=_OFFSET,
            ),
        ),
        _good("raw grey", np.ascontiguousarray(small[:, :, 1])),
        _good(
            "raw NV12 with strides",
            Nv12(
                data=nv12.tobytes(),
                width=SMALL_WIDTH,
                height=SMALL_HEIGHT,
                stride=stride,
                offset=_OFFSET,
                chroma_stride=stride,
                chroma_offset=2 * _OFFSET + luma_rows * stride,
            ),
        ),
    ]


def _crops(small: Pixels) -> list[Kind]:
    pieces = [np.ascontiguousarray(small[20:200, x : x + 80]) for x in (10, 110, 210)]
    files = [_file(piece, ".jpg") for piece in pieces]
    embedded = Outcome.EMBEDDED
    return [
        Kind(name="crops, encoded", image=Crops(files), outcomes=(embedded,) * len(files)),
        Kind(
            name="crops, raw, inner boxes",
            image=Crops(pieces, inner_boxes=np.array([[5, 5, 70, 170]] * len(pieces), np.float32)),
            outcomes=(embedded,) * len(pieces),
        ),
        Kind(
            name="crops, one bad",
            image=Crops([files[0], files[1][: len(files[1]) // 2], pieces[2]]),
            outcomes=(embedded, Outcome.INVALID_IMAGE, embedded),
        ),
    ]


def _bad(small: Pixels) -> list[Kind]:
    whole = _file(small, ".jpg")
    amiss = (Outcome.EMBEDDED, Outcome.OUTSIDE_FRAME, Outcome.INVALID_BOX, Outcome.TOO_SMALL)
    return [
        Kind(name="JPEG, cut short", image=whole[: len(whole) * 2 // 3], boxes=_BOXES, error=ErrorReason.INVALID_IMAGE),
        Kind(name="no picture", image=b"not a picture" * 99, boxes=_BOXES, error=ErrorReason.INVALID_IMAGE, often=4),
        Kind(name="boxes amiss", image=whole, boxes=_AMISS, outcomes=amiss),
    ]


def _file(pixels: Pixels, extension: str, *parameters: int) -> bytes:
    return cv2.imencode(extension, pixels, list(parameters))[1].tobytes()
