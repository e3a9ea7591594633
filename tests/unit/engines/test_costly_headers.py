"""What a header says of the work behind it, and what reading headers costs itself."""

from __future__ import annotations

import struct
from contextlib import suppress

import cv2
import numpy as np
import pytest

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import InvalidImage, UnsupportedImage
from reidstream_engines.header_steps import STEPS, STEPS_A_PICTURE, HeaderSteps
from reidstream_engines.headers import parse_encoded
from reidstream_engines.jpeg_header import MAX_SCANS, MAX_SEGMENTS

PIXELS = np.full((203, 301, 3), 90, np.uint8)
SAMPLINGS = {"4:4:4": (0x111111, 3), "4:2:2": (0x211111, 2), "4:2:0": (0x221111, 1.5)}


def jpeg(*parameters: int, grey: bool = False) -> bytes:
    return cv2.imencode(".jpg", PIXELS[:, :, 0] if grey else PIXELS, parameters)[1].tobytes()


def progressive(*parameters: int, grey: bool = False) -> bytes:
    return jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, *parameters, grey=grey)


def with_scans(data: bytes, count: int) -> bytes:
    """With its last scan so many times more; each is right, and says nothing new."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def apart(data: bytes) -> bytes:
    """A baseline JPEG whose only scan says that it has one of three components."""
    at = data.index(b"\xff\xda")
    return data[:at] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[at + 14 :]


def test_a_baseline_jpeg_has_one_scan() -> None:
    """And no coefficients are held for it."""
    for data in (jpeg(), jpeg(grey=True), jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 1)):
        image = parse_encoded(data)
        assert (image.scans, image.coefficient_bytes) == (1, 0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_scans_and_coefficients_of_a_progressive_jpeg_are_counted(sampling: str) -> None:
    """Two bytes for each sample, of whole blocks."""
    number, samples = SAMPLINGS[sampling]
    data = progressive(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, number)
    image = parse_encoded(data)
    assert image.scans == data.count(b"\xff\xda") == 10
    least = 2 * samples * image.width * image.height
    assert least <= image.coefficient_bytes <= least * 1.1
    assert parse_encoded(with_scans(data, 300)).scans == 310


def test_grey_has_a_third_of_the_coefficients() -> None:
    """Whatever its one component calls its sampling."""
    image = parse_encoded(progressive(grey=True))
    assert image.coefficient_bytes == 2 * 64 * 26 * 38


def test_a_baseline_jpeg_in_several_scans_counts_as_a_progressive_one() -> None:
    """A decoder holds its coefficients too, and goes over them for each scan."""
    image = parse_encoded(apart(jpeg()))
    assert image.scans == 1
    assert image.coefficient_bytes > 0
    assert parse_encoded(with_scans(apart(jpeg()), 40)).scans == 41


def test_scans_without_end_are_refused() -> None:
    """The number is given; and no more are counted than that."""
    parse_encoded(with_scans(progressive(grey=True), MAX_SCANS - 6))
    with pytest.raises(UnsupportedImage, match=f"more than {MAX_SCANS} scans; send a baseline one"):
        parse_encoded(with_scans(progressive(grey=True), MAX_SCANS))


@pytest.mark.parametrize("kind", ["baseline", "progressive", "png", "webp"])
def test_memory_that_decoding_needs_for_a_while_is_counted(kind: str) -> None:
    """As it was measured: nothing for a baseline JPEG, whose pixels come row by row."""
    data = {
        "baseline": jpeg(),
        "progressive": progressive(),
        "png": cv2.imencode(".png", PIXELS)[1].tobytes(),
        "webp": cv2.imencode(".webp", PIXELS)[1].tobytes(),
    }[kind]
    pixels = PIXELS.shape[0] * PIXELS.shape[1]
    beside = CpuStager().staged_bytes(parse_encoded(data), ()) - CpuStager().staged_bytes(parse_encoded(jpeg()), ())
    expected = {"baseline": 0, "progressive": 3, "png": 4, "webp": 4}[kind]
    assert expected * pixels * 0.9 <= beside <= (expected + 0.1) * pixels * 1.15


SEGMENTS = b"\xff\xfe\0\2" * (MAX_SEGMENTS - 20)
EXIF = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 8 + 2 + 12 * 200) + b"Exif\0\0II*\0\x08\0\0\0\xc8\0" + bytes(12 * 200)


@pytest.mark.parametrize(
    ("data", "least"),
    [
        (jpeg(), 9),
        (b"\xff\xd8" + SEGMENTS + jpeg()[2:], MAX_SEGMENTS - 20),
        (b"\xff\xd8" + EXIF + jpeg()[2:], 200),
        (with_scans(progressive(grey=True), 500), 506),
        (b"\xff\xd8" + b"\xff\xfe\0\2" * MAX_SEGMENTS, MAX_SEGMENTS),
        (cv2.imencode(".png", PIXELS)[1].tobytes(), 2),
    ],
    ids=["usual", "segments", "exif", "scans", "no picture", "png"],
)
def test_steps_are_counted_also_where_there_is_no_picture(data: bytes, least: int) -> None:
    """Segments, chunks, EXIF's entries, and scans."""
    steps = HeaderSteps()
    with suppress(InvalidImage):
        parse_encoded(data, steps=steps)
    taken = STEPS + STEPS_A_PICTURE - steps.left
    assert least <= taken <= least + 30
