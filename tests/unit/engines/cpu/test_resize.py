"""Resizing, against OpenCV and PIL themselves; letterboxes, against PIL.ImageOps."""

from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from reidstream_engines.cpu.resize import Placement, placement, resizer
from reidstream_engines.errors import UnsupportedProfile
from reidstream_engines.spec import Fit, InputSpec, Resize
from tests.support.samples import LEVELS_INPUT

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 32, 64
SOURCES = [(200, 90), (90, 200), (32, 64), (1, 1), (1, 300), (300, 1), (33, 64)]


def spec(resize: Resize, fit: Fit = Fit.STRETCH) -> InputSpec:
    return replace(LEVELS_INPUT, width=WIDTH, height=HEIGHT, resize=resize, fit=fit)


def frame(channels: int | None = 3) -> Pixels:
    shape = (310, 320) if channels is None else (310, 320, channels)
    return np.random.default_rng(2).integers(0, 256, shape, np.uint8)


def dirty(channels: int | None = 3) -> Pixels:
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    return np.full(shape, 99, np.uint8)


@pytest.mark.parametrize(("width", "height"), SOURCES)
@pytest.mark.parametrize("channels", [3, None])
@pytest.mark.parametrize(
    ("resize", "interpolation"),
    [(Resize.OPENCV_BILINEAR, cv2.INTER_LINEAR), (Resize.OPENCV_BICUBIC, cv2.INTER_CUBIC)],
)
def test_opencv_reads_a_view_and_fills_the_target(
    resize: Resize, interpolation: int, width: int, height: int, channels: int | None
) -> None:
    """A crop is a strided view of a frame that must not be written to; the result lands in the target itself."""
    crop = frame(channels)[5 : 5 + height, 7 : 7 + width]
    crop.flags.writeable = False
    target = dirty(channels)
    resizer(spec(resize))(crop, target)
    np.testing.assert_array_equal(target, cv2.resize(crop.copy(), (WIDTH, HEIGHT), interpolation=interpolation))


@pytest.mark.parametrize(
    ("resize", "method"),
    [(Resize.PIL_BILINEAR, Image.Resampling.BILINEAR), (Resize.PIL_BICUBIC, Image.Resampling.BICUBIC)],
)
@pytest.mark.parametrize(("width", "height"), SOURCES)
@pytest.mark.parametrize("channels", [3, None])
def test_pil_is_pil(resize: Resize, method: Image.Resampling, width: int, height: int, channels: int | None) -> None:
    """Antialiased, and not OpenCV's."""
    crop = frame(channels)[5 : 5 + height, 7 : 7 + width]
    target = dirty(channels)
    resizer(spec(resize))(crop, target)
    np.testing.assert_array_equal(target, np.asarray(Image.fromarray(crop.copy()).resize((WIDTH, HEIGHT), method)))


@pytest.mark.parametrize(("fit", "centering"), [(Fit.LETTERBOX_CENTER, (0.5, 0.5)), (Fit.LETTERBOX_CORNER, (0.0, 0.0))])
@pytest.mark.parametrize(("width", "height"), [*SOURCES[:4], (41, 64), (57, 101)])
def test_a_letterbox_of_pil_is_imageops_pad(fit: Fit, centering: tuple[float, float], width: int, height: int) -> None:
    """Same size, same offset, black around, whatever was in the target before."""
    crop = frame()[5 : 5 + height, 7 : 7 + width]
    target = dirty()
    resizer(spec(Resize.PIL_BICUBIC, fit))(crop, target)
    padded = ImageOps.pad(
        Image.fromarray(crop.copy()), (WIDTH, HEIGHT), Image.Resampling.BICUBIC, color=(0, 0, 0), centering=centering
    )
    np.testing.assert_array_equal(target, np.asarray(padded))


@pytest.mark.parametrize("channels", [3, None])
def test_opencv_writes_into_the_middle_of_a_letterbox(channels: int | None) -> None:
    """OpenCV makes a new array where a target does not suit it; a window of the canvas must suit it."""
    crop = frame(channels)[:100, :100]
    target = dirty(channels)
    resizer(spec(Resize.OPENCV_BILINEAR, Fit.LETTERBOX_CENTER))(crop, target)
    np.testing.assert_array_equal(target[16:48], cv2.resize(crop, (32, 32), interpolation=cv2.INTER_LINEAR))
    assert not target[:16].any()
    assert not target[48:].any()


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)), network=st.tuples(st.integers(8, 40), st.integers(8, 40))
)
def test_a_letterbox_of_pil_has_the_size_of_imageops_contain(size: tuple[int, int], network: tuple[int, int]) -> None:
    """Halves included."""
    letterbox = replace(spec(Resize.PIL_BILINEAR, Fit.LETTERBOX_CORNER), width=network[0], height=network[1])
    place = placement(letterbox, width=size[0], height=size[1])
    assume(min(network[0] / size[0], network[1] / size[1]) * min(size) > 1)  # PIL has no answer for thinner ones
    assert (place.width, place.height) == ImageOps.contain(Image.new("L", size), network).size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), Placement(left=0, top=16, width=32, height=32)),
        ((90, 100), Placement(left=0, top=14, width=32, height=35)),  # 32 * 100 / 90 = 35.6; 29 rows are left
        ((45, 100), Placement(left=2, top=0, width=28, height=64)),  # 64 * 45 / 100 = 28.8; 4 columns are left
        ((50, 100), Placement(left=0, top=0, width=32, height=64)),
        ((900, 1), Placement(left=0, top=31, width=32, height=1)),
    ],
)
def test_a_letterbox_of_opencv_is_nvinfers(size: tuple[int, int], expected: Placement) -> None:
    """Size and offset are cut, not rounded; the corner variant has the size alone."""
    width, height = size
    assert placement(spec(Resize.OPENCV_BILINEAR, Fit.LETTERBOX_CENTER), width=width, height=height) == expected
    corner = placement(spec(Resize.OPENCV_BILINEAR, Fit.LETTERBOX_CORNER), width=width, height=height)
    assert corner == replace(expected, left=0, top=0)


@given(
    size=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    network=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    fit=st.sampled_from(list(Fit)),
    resize=st.sampled_from(list(Resize)),
)
def test_every_placement_lies_in_the_input(
    size: tuple[int, int], network: tuple[int, int], fit: Fit, resize: Resize
) -> None:
    """No crop is so flat or so thin that it vanishes or sticks out, and it touches two opposite borders."""
    place = placement(replace(spec(resize, fit), width=network[0], height=network[1]), width=size[0], height=size[1])
    assert place.width >= 1
    assert place.height >= 1
    assert place.left >= 0
    assert place.top >= 0
    assert place.left + place.width <= network[0]
    assert place.top + place.height <= network[1]
    assert place.width == network[0] or place.height == network[1]


def test_without_pillow_its_profiles_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """At load time, not at the first crop; OpenCV's go on."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    resizer(spec(Resize.OPENCV_BILINEAR))
    with pytest.raises(UnsupportedProfile, match=r"pip install 'reidstream-engines\[pil\]'"):
        resizer(spec(Resize.PIL_BILINEAR))
