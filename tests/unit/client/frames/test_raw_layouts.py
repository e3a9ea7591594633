"""raw_layouts: pixels whose layout does not fit their length are refused, with the layout that would fit."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from reidstream_client import ColorMatrix, ColorRange, InvalidRequest, Nv12, PixelFormat, RawFrame
from reidstream_client.frames.raw_layouts import RawPixels, nv12_pixels, raw_pixels
from reidstream_proto.v1 import image_pb2

WIDTH, HEIGHT = 12, 6
PIXELS = WIDTH * HEIGHT


def raw(size: int, kind: PixelFormat = PixelFormat.BGR, **layout: Any) -> RawPixels:
    return raw_pixels(RawFrame(data=bytes(size), width=WIDTH, height=HEIGHT, format=kind, **layout))


def nv12(size: int, **layout: Any) -> RawPixels:
    return nv12_pixels(Nv12(data=bytes(size), width=WIDTH, height=HEIGHT, **layout))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (PixelFormat.BGR, 36),
        (PixelFormat.RGB, 36),
        (PixelFormat.GRAY, 12),
        (PixelFormat.BGRA, 48),
        (PixelFormat.RGBA, 48),
        (PixelFormat.YUYV, 24),
    ],
)
def test_rows_are_packed_or_padded_and_the_last_one_need_not_be(kind: PixelFormat, row: int) -> None:
    """A byte less or more than that is another layout."""
    raw(row * HEIGHT, kind)
    raw(7 + row * HEIGHT, kind, offset=7)
    raw(7 + row * HEIGHT + 1000, kind, offset=7)  # a picture within a larger buffer
    with pytest.raises(InvalidRequest, match=rf"are {7 + row * HEIGHT} bytes \(rows of {row}, offset 7\), not 9: "):
        raw(9, kind, offset=7)
    for stride in (row, row + 4):
        least, most = stride * (HEIGHT - 1) + row, stride * HEIGHT
        for size in (least, most):
            raw(size, kind, stride=stride)
        for size in (least - 1, most + 1):
            with pytest.raises(InvalidRequest, match=rf"are {least} bytes \(rows of {stride}\), not {size}: "):
                raw(size, kind, stride=stride)


@pytest.mark.parametrize(
    ("kind", "size", "advice"),
    [
        (PixelFormat.BGR, 4 * PIXELS, r"4 bytes a pixel: is it format=PixelFormat\.BGRA, or RGBA\?"),
        (PixelFormat.RGB, 2 * PIXELS, r"2 bytes a pixel: is it format=PixelFormat\.YUYV\?"),
        (PixelFormat.GRAY, 3 * PIXELS, r"3 bytes a pixel: is it format=PixelFormat\.BGR, or RGB\?"),
        (PixelFormat.BGRA, 3 * PIXELS, r"3 bytes a pixel"),
        (PixelFormat.BGR, 3 * PIXELS // 2, r"12 bits a pixel: is it Nv12\(\.\.\.\), or format=PixelFormat\.I420\?"),
        (PixelFormat.YUYV, 3 * PIXELS // 2, r"12 bits a pixel"),
        (PixelFormat.I420, PIXELS, r"1 byte a pixel: is it format=PixelFormat\.GRAY\?"),
        (PixelFormat.I420, 3 * PIXELS, r"3 bytes a pixel"),
        (PixelFormat.BGR, 40 * HEIGHT, r"that is 40 bytes a row; if rows are padded, give stride=40"),
        (PixelFormat.BGR, 36 * HEIGHT + 17, r"cut them off: data=memoryview\(data\)\[:216\]"),
        (PixelFormat.BGR, 36 * HEIGHT - 1, "it is too short; was it cut, or are width and height another picture's"),
        (PixelFormat.BGR, 0, "it is too short"),
    ],
)
def test_the_length_tells_what_is_wrong(kind: PixelFormat, size: int, advice: str) -> None:
    """Another format, a stride that was forgotten, bytes behind the picture, or half of one."""
    with pytest.raises(InvalidRequest, match=advice):
        raw(size, kind)


def test_the_advice_is_taken() -> None:
    """What it names is accepted."""
    raw(4 * PIXELS, PixelFormat.BGRA)
    raw(40 * HEIGHT, stride=40)
    data = bytes(36 * HEIGHT + 17)
    raw_pixels(RawFrame(data=memoryview(data)[:216], width=WIDTH, height=HEIGHT))


def test_a_file_in_a_raw_frame_is_named() -> None:
    """Its bytes are the image already."""
    file = b"\xff\xd8\xff\xe0" + bytes(50)
    with pytest.raises(InvalidRequest, match="it is a JPEG file; send its bytes as the image, without RawFrame"):
        raw_pixels(RawFrame(data=file, width=WIDTH, height=HEIGHT))


def test_an_nv12_picture_has_the_length_of_its_planes() -> None:
    """Packed, or with a stride; the last row need not be padded."""
    nv12(PIXELS * 3 // 2)
    nv12(9 * 16 - 4, stride=16)
    nv12(9 * 16, stride=16)
    with pytest.raises(InvalidRequest, match=r"NV12 pixels .* are 108 bytes .*, not 216: that is 3 bytes"):
        nv12(3 * PIXELS)
    with pytest.raises(InvalidRequest, match="not 107: it is too short"):
        nv12(107)
    with pytest.raises(InvalidRequest, match=r"cut them off: data=memoryview\(data\)\[:108\]"):
        nv12(110)


def test_a_decoder_that_pads_the_height_needs_an_offset_of_its_chroma() -> None:
    """1080 rows in a buffer of 1088: read without it, the colours would be those of other rows."""
    padded = Nv12(data=bytes(1920 * 1088 * 3 // 2), width=1920, height=1080)
    with pytest.raises(InvalidRequest, match="if the decoder pads the height to 1088 rows, give chroma_offset=2088960"):
        nv12_pixels(padded)
    found = nv12_pixels(Nv12(data=padded.data, width=1920, height=1080, chroma_offset=2088960))
    assert found.layout.chroma_offset == 2088960


@pytest.mark.parametrize("kind", [PixelFormat.YUYV, PixelFormat.I420])
@pytest.mark.parametrize(("width", "height"), [(3, 4), (4, 3)])
def test_planes_of_colour_need_even_sizes(kind: PixelFormat, width: int, height: int) -> None:
    """There is one colour for two pixels, both ways."""
    size = width * height * 2 if kind is PixelFormat.YUYV else width * height * 3 // 2
    with pytest.raises(InvalidRequest, match=rf"an {kind.name} picture must be even, not {width} x {height}"):
        raw_pixels(RawFrame(data=bytes(size), width=width, height=height, format=kind))


def test_the_stride_of_i420_is_even() -> None:
    """The planes behind the luma have half of it."""
    with pytest.raises(InvalidRequest, match="stride of an I420 picture must be even, not 13"):
        raw(13 * 9, PixelFormat.I420, stride=13)


@pytest.mark.parametrize("kind", ["yuyv", "YUY2", PixelFormat.YUYV])
def test_formats_matrices_and_ranges_are_known_by_their_words(kind: PixelFormat) -> None:
    """As a camera's driver writes them."""
    matrix, values = cast("ColorMatrix", "bt.709"), cast("ColorRange", "full")
    found = raw(2 * PIXELS, kind, matrix=matrix, range=values).layout
    assert found.format == image_pb2.PIXEL_FORMAT_NV12
    assert (found.color_matrix, found.color_range) == (image_pb2.COLOR_MATRIX_BT709, image_pb2.COLOR_RANGE_FULL)
    with pytest.raises(InvalidRequest, match=r"format must be one of PixelFormat\.BGR, .*I420, .* not 'bgr24'"):
        raw(2 * PIXELS, cast("PixelFormat", "bgr24"))


def test_an_array_is_a_buffer() -> None:
    """Its bytes are not copied; those of numbers that are no bytes are refused."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    found = raw_pixels(RawFrame(data=pixels, width=WIDTH, height=HEIGHT))
    assert np.shares_memory(np.frombuffer(found.data, np.uint8), pixels)
    assert found.borrowed
    with pytest.raises(InvalidRequest, match="must be bytes or a uint8 array, not an array of float32"):
        raw_pixels(RawFrame(data=cast("Any", pixels.astype(np.float32)), width=WIDTH, height=HEIGHT))


def test_a_buffer_that_was_released_is_refused() -> None:
    """By the name of the argument."""
    view = memoryview(bytearray(3))
    view.release()
    with pytest.raises(InvalidRequest, match=r"data of raw pixels must be .* not a memoryview"):
        raw_pixels(RawFrame(data=view, width=1, height=1))
