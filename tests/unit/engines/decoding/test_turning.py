"""Pictures turned as their EXIF says have the pixels that `cv2.imread` gives, whatever is decoded of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.decoders import CpuFrameDecoder
from reidstream_engines.decoding.jpeg import SCALES, JpegDecoder
from reidstream_engines.decoding.turbojpeg import TurboJpeg, find_turbojpeg
from reidstream_engines.errors import InvalidImage
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import EncodedImage, Orientation, PixelBox
from tests.unit.engines.test_exif import EXIF, record, segment

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 203, 141


def turned_file(suffix: str, turn: Orientation, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    if suffix == ".jpg":
        return data[:2] + segment(EXIF + record(turn.value)) + data[2:]
    exif = b"eXIf" + record(turn.value, order=">")
    return data[:33] + struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif)) + data[33:]


def as_opencv_turns(data: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def boxes_in(image: EncodedImage) -> st.SearchStrategy[PixelBox]:
    corner = st.tuples(st.integers(0, image.width - 1), st.integers(0, image.height - 1))
    return corner.flatmap(
        lambda at: st.builds(
            PixelBox,
            x1=st.just(at[0]),
            y1=st.just(at[1]),
            x2=st.integers(at[0] + 1, image.width),
            y2=st.integers(at[1] + 1, image.height),
        )
    )


@pytest.mark.parametrize("make", [find_turbojpeg, lambda: None], ids=["part", "whole"])
@pytest.mark.parametrize("turn", Orientation)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_jpeg(turn: Orientation, make: Callable[[], TurboJpeg | None], data: st.DataObject) -> None:
    """In part and whole."""
    stager = CpuStager(JpegDecoder(make()))
    encoded = turned_file(".jpg", turn)
    image = parse_encoded(encoded, upright=True)
    expected = as_opencv_turns(encoded)
    assert (image.width, image.height) == expected.shape[1::-1]
    boxes = data.draw(st.lists(boxes_in(image), min_size=1, max_size=3))
    with stager.stage(image, boxes) as frame:
        for box in boxes:
            np.testing.assert_array_equal(frame.cut(box), expected[box.y1 : box.y2, box.x1 : box.x2])
        assert stager.staged_bytes(image, boxes) >= frame.pixels.nbytes


@pytest.mark.parametrize("turn", Orientation)
def test_png(turn: Orientation) -> None:
    """Always whole."""
    encoded = turned_file(".png", turn)
    with CpuStager().stage(parse_encoded(encoded, upright=True), ()) as frame:
        np.testing.assert_array_equal(frame.pixels, as_opencv_turns(encoded))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("turn", Orientation)
def test_the_pixels_that_a_gpu_gets(turn: Orientation, suffix: str) -> None:
    """The CPU's very ones, at the same place."""
    image = parse_encoded(turned_file(suffix, turn), upright=True)
    box = PixelBox(x1=60, y1=70, x2=100, y2=130)
    decoder = CpuFrameDecoder(JpegDecoder(find_turbojpeg()))
    layout = decoder.layout(image, [box])
    target = np.zeros(layout.size, np.uint8)
    decoder.decode(image, [box], target)
    found = target.reshape(layout.height, layout.width, 3)
    with CpuStager().stage(image, [box]) as frame:
        np.testing.assert_array_equal(found, frame.pixels)
        assert layout.origin == frame.origin


@pytest.mark.parametrize("scale", SCALES)
def test_smaller(scale: int) -> None:
    """The small picture is turned, whatever the library decodes."""
    image = parse_encoded(turned_file(".jpg", Orientation.TURN_RIGHT), upright=True)
    box = PixelBox(x1=41, y1=33, x2=97, y2=200)
    decoders = [JpegDecoder(library, scale=scale) for library in (find_turbojpeg(), None)]
    with CpuStager(decoders[0]).stage(image, [box]) as one, CpuStager(decoders[1]).stage(image, [box]) as other:
        assert other.pixels.shape == (-(-WIDTH // scale), -(-HEIGHT // scale), 3)
        np.testing.assert_array_equal(one.cut(box), other.cut(box))


def test_damage_is_refused_as_ever() -> None:
    """A file whose pixels are not those that its header says, too."""
    data = turned_file(".jpg", Orientation.TURN_LEFT)
    half = len(data) // 2
    with pytest.raises(InvalidImage, match="decoded to its end"):
        CpuStager().stage(parse_encoded(data[:half] + data[half + 900 :], upright=True), ())
