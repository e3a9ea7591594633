"""conversions: pixels that the wire does not know arrive as ones that it does, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import ColorMatrix, PixelFormat, RawFrame
from reidstream_client.frames.raw_layouts import raw_pixels
from reidstream_proto.v1 import image_pb2

WIDTH, HEIGHT = 8, 6
Pixels = npt.NDArray[np.uint8]


def some(*shape: int) -> Pixels:
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def padded(rows: npt.NDArray[Any], padding: int) -> bytes:
    """Rows (H, W) with bytes behind each."""
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=99).tobytes()


@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize(
    ("kind", "wire"),
    [(PixelFormat.BGRA, image_pb2.PIXEL_FORMAT_BGR), (PixelFormat.RGBA, image_pb2.PIXEL_FORMAT_RGB)],
)
def test_alpha_is_dropped_and_the_order_of_colours_stays(
    kind: PixelFormat, wire: image_pb2.PixelFormat.ValueType, padding: int
) -> None:
    """As it is dropped from a PNG."""
    pixels = some(HEIGHT, WIDTH, 4)
    data = b"#" + padded(pixels.reshape(HEIGHT, -1), padding)
    stride = WIDTH * 4 + padding
    found = raw_pixels(RawFrame(data=data, width=WIDTH, height=HEIGHT, format=kind, stride=stride, offset=1))
    assert found.layout == image_pb2.RawImage(format=wire, width=WIDTH, height=HEIGHT)
    assert bytes(found.data) == pixels[:, :, :3].tobytes()
    assert not found.borrowed


@pytest.mark.parametrize("padding", [0, 4])
def test_i420_becomes_nv12_without_a_change_of_its_numbers(padding: int) -> None:
    """The planes of colour are interleaved; each row of theirs has half of the stride."""
    luma, u, v = some(HEIGHT, WIDTH), some(HEIGHT // 2, WIDTH // 2), some(HEIGHT // 2, WIDTH // 2) ^ 0xFF
    data = padded(luma, padding) + padded(u, padding // 2) + padded(v, padding // 2)
    frame = RawFrame(
        data=data,
        width=WIDTH,
        height=HEIGHT,
        format=PixelFormat.I420,
        stride=WIDTH + padding,
        matrix=ColorMatrix.BT709,
    )
    found = raw_pixels(frame)
    assert found.layout == image_pb2.RawImage(
        format=image_pb2.PIXEL_FORMAT_NV12,
        width=WIDTH,
        height=HEIGHT,
        color_matrix=image_pb2.COLOR_MATRIX_BT709,
        color_range=image_pb2.COLOR_RANGE_LIMITED,
    )
    assert bytes(found.data) == luma.tobytes() + np.stack([u, v], axis=2).tobytes()


@pytest.mark.parametrize("padding", [0, 8])
def test_yuyv_becomes_nv12_whose_rows_of_colour_are_the_mean_of_two(padding: int) -> None:
    """Rounded half up; the luma stays."""
    rows = some(HEIGHT, 2 * WIDTH)
    data = padded(rows, padding)
    stride = 2 * WIDTH + padding
    found = raw_pixels(RawFrame(data=data, width=WIDTH, height=HEIGHT, format=PixelFormat.YUYV, stride=stride))
    quads = rows.reshape(HEIGHT, WIDTH // 2, 4).astype(int)  # Y, U, Y, V
    luma = quads[:, :, [0, 2]].reshape(HEIGHT, WIDTH)
    chroma = (quads[0::2, :, [1, 3]] + quads[1::2, :, [1, 3]] + 1) // 2
    assert found.layout.format == image_pb2.PIXEL_FORMAT_NV12
    assert bytes(found.data) == luma.astype(np.uint8).tobytes() + chroma.astype(np.uint8).tobytes()
    assert found.layout.stride == found.layout.offset == 0
