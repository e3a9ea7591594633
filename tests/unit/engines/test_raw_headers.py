"""headers, raw pixels: a layout is filled in and checked against the data before a row of it is touched."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_engines.errors import InvalidImage
from reidstream_engines.headers import parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat, RawImage


def raw(
    data: bytes | memoryview,
    kind: PixelFormat = PixelFormat.BGR,
    *,
    width: int = 10,
    height: int = 6,
    stride: int = 0,
    offset: int = 0,
    chroma_stride: int = 0,
    chroma_offset: int = 0,
) -> RawImage:
    return parse_raw(
        data=data,
        format=kind,
        width=width,
        height=height,
        stride=stride,
        offset=offset,
        chroma_stride=chroma_stride,
        chroma_offset=chroma_offset,
        color_matrix=ColorMatrix.BT709,
        color_range=ColorRange.FULL,
    )


class TestRaw:
    @pytest.mark.parametrize(("kind", "row"), [(PixelFormat.BGR, 30), (PixelFormat.RGB, 30), (PixelFormat.GRAY, 10)])
    def test_packed_rows_are_the_default(self, kind: PixelFormat, row: int) -> None:
        """0 is filled in, and the data passed on."""
        data = bytes(row * 6)
        image = raw(data, kind)
        assert (image.format, image.width, image.height, image.stride, image.offset) == (kind, 10, 6, row, 0)
        assert (image.color_matrix, image.color_range) == (ColorMatrix.BT709, ColorRange.FULL)
        assert image.data is data

    def test_the_chroma_plane_follows_the_luma(self) -> None:
        """With the luma's stride, where nothing else was said."""
        image = raw(bytes(5 + 16 * 6 + 16 * 3), PixelFormat.NV12, stride=16, offset=5)
        assert (image.stride, image.offset, image.chroma_stride, image.chroma_offset) == (16, 5, 16, 101)

    @pytest.mark.parametrize(("kind", "bytes_"), [(PixelFormat.BGR, 3), (PixelFormat.RGB, 3), (PixelFormat.GRAY, 1)])
    def test_a_single_pixel(self, kind: PixelFormat, bytes_: int) -> None:
        """The smallest picture there is."""
        assert raw(bytes(bytes_), kind, width=1, height=1).stride == bytes_
        with pytest.raises(InvalidImage, match=f"{bytes_} bytes are needed"):
            raw(bytes(bytes_ - 1), kind, width=1, height=1)

    def test_planes_anywhere(self) -> None:
        """Chroma before luma, each with its own stride."""
        image = raw(bytes(200), PixelFormat.NV12, stride=20, offset=60, chroma_stride=12, chroma_offset=4)
        assert (image.stride, image.offset, image.chroma_stride, image.chroma_offset) == (20, 60, 12, 4)

    @pytest.mark.parametrize(
        ("kind", "needed", "layout"),
        [
            (PixelFormat.BGR, 180, {}),
            (PixelFormat.BGR, 7 + 5 * 40 + 30, {"stride": 40, "offset": 7}),  # the last row need not be padded
            (PixelFormat.GRAY, 60, {}),
            (PixelFormat.NV12, 90, {}),
            (PixelFormat.NV12, 500 + 2 * 16 + 10, {"chroma_offset": 500, "chroma_stride": 16}),
            (PixelFormat.NV12, 500 + 60, {"offset": 500, "chroma_offset": 1}),
        ],
    )
    def test_one_byte_short(self, kind: PixelFormat, needed: int, layout: dict[str, int]) -> None:
        """Exactly enough is enough; a byte less is refused with both numbers; more is ignored."""
        raw(bytes(needed), kind, **layout)
        raw(bytes(needed + 1000), kind, **layout)
        with pytest.raises(InvalidImage, match=rf"{needed} bytes are needed .*{needed - 1} are given"):
            raw(bytes(needed - 1), kind, **layout)

    @pytest.mark.parametrize(
        ("layout", "words"),
        [
            ({"width": 0}, "0 x 6 pixels"),
            ({"height": 0}, "10 x 0 pixels"),
            ({"width": -10}, "-10 x 6 pixels"),
            ({"stride": 29}, "stride 29 is shorter than a row of 30 bytes"),
            ({"offset": -1}, "at least 0"),
            ({"stride": -30}, "at least 0"),
            ({"offset": 2**63}, "bytes are needed"),
            ({"stride": 2**63}, "bytes are needed"),
            ({"width": 2**32 - 1, "height": 2**32 - 1}, "55340232195358851075 bytes are needed"),
        ],
    )
    def test_layouts_that_are_refused(self, layout: dict[str, int], words: str) -> None:
        """Before anything is multiplied in 64 bits."""
        with pytest.raises(InvalidImage, match=words):
            raw(bytes(1000), PixelFormat.BGR, **layout)

    @pytest.mark.parametrize("layout", [{"width": 9}, {"height": 5}])
    def test_nv12_has_even_sizes(self, layout: dict[str, int]) -> None:
        """Its chroma is of half the size."""
        with pytest.raises(InvalidImage, match="even"):
            raw(bytes(1000), PixelFormat.NV12, **layout)

    def test_nv12_chroma_stride(self) -> None:
        """A row of chroma has as many bytes as one of luma."""
        with pytest.raises(InvalidImage, match="NV12 chroma: stride 9 is shorter than a row of 10 bytes"):
            raw(bytes(1000), PixelFormat.NV12, chroma_stride=9)

    def test_the_stride_of_a_single_row(self) -> None:
        """It leads nowhere, so no number of it can do harm."""
        assert raw(bytes(30), height=1, stride=2**62).stride == 30
        assert raw(bytes(30), PixelFormat.NV12, height=2, chroma_stride=2**62).chroma_stride == 10

    def test_a_memoryview_is_measured_in_bytes(self) -> None:
        """Not in its items."""
        words = memoryview(bytes(200)).cast("I")
        assert len(words) == 50
        assert raw(words).stride == 30

    @settings(deadline=None)
    @given(
        st.sampled_from(PixelFormat),
        st.integers(0, 300),
        st.tuples(*[st.integers(-1, 40) | st.sampled_from([2**31, 2**32 - 1, sys.maxsize, 2**64])] * 6),
    )
    def test_every_row_lies_in_the_data(self, kind: PixelFormat, size: int, layout: tuple[int, ...]) -> None:
        """What is accepted can be viewed by numpy, which checks the bounds itself."""
        width, height, stride, offset, chroma_stride, chroma_offset = layout
        data = bytes(size)
        try:
            image = raw(
                data,
                kind,
                width=width,
                height=height,
                stride=stride,
                offset=offset,
                chroma_stride=chroma_stride,
                chroma_offset=chroma_offset,
            )
        except InvalidImage:
            return
        channels = 1 if kind in (PixelFormat.GRAY, PixelFormat.NV12) else 3
        np.ndarray((height, width, channels), np.uint8, data, image.offset, (image.stride, channels, 1))
        if kind is PixelFormat.NV12:
            shape = (height // 2, width // 2, 2)
            np.ndarray(shape, np.uint8, data, image.chroma_offset, (image.chroma_stride, 2, 1))
