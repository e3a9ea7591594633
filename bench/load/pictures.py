"""What the cameras send: drawn frames of a given size in bytes with boxes, or ready crops, as serialised messages.

Why drawn: a benchmark must run anywhere, with the same frames everywhere. The cost of a JPEG depends on its pixels and
its bytes, so a scene of shapes and noise is compressed at the highest quality that fits the size.

Trap: the messages have no frame_id. When one is sent, a second message that holds only the id is appended, and the
parser merges the two. So the load generator need not serialise each frame.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2

Pixels: TypeAlias = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 1920, 1080
CROP_WIDTH, CROP_HEIGHT = 128, 256
JPEG_BYTES = 350_000
BAND_ROWS = 400
_BAND_TOP = 340
_BOX_WIDTHS, _BOX_HEIGHTS = (60, 130), (160, 320)
_NOISE = 9.0


class Content(Enum):
    """What a frame holds. BAND: all boxes in 400 rows of the frame. RAW: pixels instead of a JPEG."""

    FRAME = "frame"
    RAW = "raw"
    BAND = "band"
    CROPS = "crops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Which messages to draw: `count` different ones, `boxes` boxes (or crops) in each."""

    content: Content
    boxes: int = 8
    count: int = 4
    seed: int = 0

    def messages(self) -> list[bytes]:
        """EmbedStreamRequests, serialised, without frame_id."""
        return [self._frame(np.random.default_rng((self.seed, index))) for index in range(self.count)]

    def _frame(self, random: np.random.Generator) -> bytes:
        frame = frame_pb2.Frame()
        scene = draw_scene(random)
        if self.content is Content.CROPS:
            for _ in range(self.boxes):
                top, left = _whole(random, 0, HEIGHT - CROP_HEIGHT), _whole(random, 0, WIDTH - CROP_WIDTH)
                frame.crops.crops.add().raw.CopyFrom(_raw(scene[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]))
        else:
            if self.content is Content.RAW:
                frame.raw.CopyFrom(_raw(scene))
            else:
                frame.encoded.data = compress(scene, JPEG_BYTES)
            top, bottom = (_BAND_TOP, _BAND_TOP + BAND_ROWS) if self.content is Content.BAND else (0, HEIGHT)
            for _ in range(self.boxes):
                width, height = _whole(random, *_BOX_WIDTHS), _whole(random, *_BOX_HEIGHTS)
                x, y = _whole(random, 0, WIDTH - width), _whole(random, top, bottom - height)
                frame.boxes.add().rect.CopyFrom(image_pb2.Rect(x1=x, y1=y, x2=x + width, y2=y + height))
        return service_pb2.EmbedStreamRequest(frame=frame).SerializeToString()


def _raw(pixels: Pixels) -> image_pb2.RawImage:
    height, width = pixels.shape[:2]
    return image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=width, height=height, data=pixels.tobytes())


def numbered(message: bytes, frame_id: int) -> bytes:
    """The message with this frame_id. Copies it once."""
    return message + service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=frame_id)).SerializeToString()


def draw_scene(random: np.random.Generator) -> Pixels:
    """A BGR picture, uint8 (1080, 1920, 3): shapes on a gradient, with a sensor's noise."""
    light = np.linspace(60, 180, HEIGHT, dtype=np.float32)[:, None, None]
    scene = np.ascontiguousarray(np.broadcast_to(light, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    for _ in range(120):
        x, y, size = _whole(random, 0, WIDTH), _whole(random, 0, HEIGHT), _whole(random, 12, 160)
        color = tuple(int(value) for value in random.integers(0, 256, 3))
        if random.random() < 1 / 2:
            cv2.rectangle(scene, (x, y), (x + size // 2, y + size), color, cv2.FILLED)
        else:
            cv2.ellipse(scene, (x, y), (size // 3, size), 0, 0, 360, color, cv2.FILLED, cv2.LINE_AA)
    noise = random.normal(0, _NOISE, scene.shape).astype(np.float32)
    return np.asarray(np.clip(scene + noise, 0, 255), np.uint8)


def _whole(random: np.random.Generator, low: int, high: int) -> int:
    return int(random.integers(low, high))


def compress(scene: Pixels, wanted_bytes: int) -> bytes:
    """A JPEG of the highest quality that has at most `wanted_bytes`; of quality 1 if none fits."""

    def jpeg(quality: int) -> bytes:
        return cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()

    fitting = bisect.bisect_right(range(1, 101), wanted_bytes, key=lambda quality: len(jpeg(quality)))
    return jpeg(max(1, fitting))
