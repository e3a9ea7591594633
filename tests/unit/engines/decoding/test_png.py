"""Which chunks of a PNG reach OpenCV, which makes room for whatever a chunk claims."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.png import critical_chunks
from reidstream_engines.errors import InvalidImage
from reidstream_engines.headers import parse_encoded

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()
END = PNG[-12:]
HUGE = struct.pack(">I", 3_000_000_000) + b"ABCD"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("behind", [HUGE, b"x", PNG])
def test_what_stands_behind_the_end_is_not_read(behind: bytes) -> None:
    """The picture is the same."""
    assert critical_chunks(PNG) is PNG
    assert critical_chunks(PNG + behind) == PNG
    np.testing.assert_array_equal(CpuStager().stage(parse_encoded(PNG + behind), ()).pixels, PIXELS)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (PNG[:33] + END + HUGE, "no pixels before its end"),
        (PNG.replace(b"IDAT", b"IdAT") + HUGE, "no pixels before its end|a chunk b'IdAT'"),
        (PNG[:33] + chunk(b"ABCD") + PNG[33:], "at byte 33 is a chunk b'ABCD'"),
        (PNG[:33] + PNG[8:], "at byte 33 is a chunk b'IHDR'"),
        (PNG[:-12] + HUGE, "truncated"),
        (PNG[:-12] + struct.pack(">I", 3_000_000_000) + b"IEND" + bytes(4), "truncated"),
    ],
    ids=["no pixels", "a misspelt chunk", "an unknown chunk", "two headers", "a huge chunk", "a huge end"],
)
def test_a_file_that_opencv_would_look_for_pixels_in_is_refused(data: bytes, answer: str) -> None:
    """Before OpenCV sees it."""
    with pytest.raises(InvalidImage, match=answer):
        CpuStager().stage(parse_encoded(data), ())
