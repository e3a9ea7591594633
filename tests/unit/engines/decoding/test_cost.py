"""What staging is estimated to cost: more for more work, nothing for none. Whether it is true, no test can say."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.turbojpeg import find_turbojpeg
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, EncodedImage, PixelBox, PixelFormat, RawImage

_A_MILLISECOND = 1_000_000


def encoded(extension: str, side: int = 1000, parameters: tuple[int, ...] = (), *, busy: bool = False) -> EncodedImage:
    pixels = np.zeros((side, side, 3), np.uint8)
    if busy:
        pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    return parse_encoded(cv2.imencode(extension, pixels, parameters)[1].tobytes())


def raw(pixel_format: PixelFormat) -> RawImage:
    return parse_raw(
        data=bytes(1000 * 1000 * 3),
        format=pixel_format,
        width=1000,
        height=1000,
        stride=0,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


@pytest.mark.parametrize("pixel_format", [PixelFormat.BGR, PixelFormat.RGB, PixelFormat.GRAY])
def test_pixels_that_are_only_pointed_at_cost_nothing(pixel_format: PixelFormat) -> None:
    """And only those: NV12 is converted."""
    stager = CpuStager()
    assert stager.staging_ns(raw(pixel_format), ()) == 0
    assert stager.staging_ns(raw(PixelFormat.NV12), ()) > _A_MILLISECOND / 10


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_pixels_cost_even_where_bytes_are_few(extension: str) -> None:
    """One colour compresses to nearly nothing, and every pixel of it is made all the same."""
    stager = CpuStager()
    small, large = encoded(extension, 100), encoded(extension, 4000)
    assert stager.staging_ns(large, ()) > 100 * stager.staging_ns(small, ())
    assert stager.staging_ns(large, ()) > 10 * _A_MILLISECOND


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_bytes_cost_where_pixels_are_as_many(extension: str) -> None:
    """Noise of the same size costs more than one colour."""
    stager = CpuStager()
    assert stager.staging_ns(encoded(extension, busy=True), ()) > 1.5 * stager.staging_ns(encoded(extension), ())


def test_every_scan_costs() -> None:
    """Each goes over all coefficients, whatever it says of them."""
    stager, once = CpuStager(), encoded(".jpg")
    costs = [stager.staging_ns(replace(once, scans=scans), ()) for scans in (1, 10, 1000)]
    assert costs[0] < costs[1] < costs[2]
    assert costs[2] > 200 * _A_MILLISECOND


@pytest.mark.needs("turbojpeg")
def test_a_part_costs_less_than_the_picture() -> None:
    """Of a JPEG only the part with the boxes is decoded; at a smaller scale, fewer pixels."""
    image, boxes = encoded(".jpg"), [PixelBox(x1=500, y1=500, x2=600, y2=900)]
    stager = CpuStager(JpegDecoder(find_turbojpeg()))
    assert stager.staging_ns(image, boxes) < stager.staging_ns(image, ())
    assert CpuStager(JpegDecoder(find_turbojpeg(), scale=4)).staging_ns(image, ()) < stager.staging_ns(image, ())


def test_turning_costs() -> None:
    """A turned picture is decoded, and then moved."""
    stager, image = CpuStager(), encoded(".png")
    assert stager.staging_ns(replace(image, upright=True), ()) > stager.staging_ns(image, ())


def test_lossless_webp_is_not_taken_for_lossy() -> None:
    """A byte of it says less."""
    stager = CpuStager()
    lossy, lossless = (encoded(".webp", parameters=(cv2.IMWRITE_WEBP_QUALITY, q), busy=True) for q in (90, 101))
    of_a_byte = [stager.staging_ns(image, ()) / len(image.data) for image in (lossy, lossless)]
    assert of_a_byte[0] > 2 * of_a_byte[1]
