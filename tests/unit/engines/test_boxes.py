"""boxes: which pixels a float box takes, why it takes none, and what it is worth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reidstream_engines.boxes import BoxFault, Rect, quality, resolve
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.spec import CropRule
from tests.support.samples import LEVELS_INPUT

WIDTH, HEIGHT = 1920, 1080

sizes = st.integers(1, 300)
coordinates = st.one_of(
    st.floats(-400, 700, width=32),
    st.integers(-800, 1400).map(lambda halves: halves / 2),
    st.floats(width=32),
)
rects = st.tuples(coordinates, coordinates, coordinates, coordinates)


def exact(rect: Rect, *, width: int = WIDTH, height: int = HEIGHT, min_px: int = 1) -> PixelBox | BoxFault:
    return resolve(rect, width=width, height=height, rule=CropRule.EXACT, min_px=min_px)


def even(rect: Rect, *, width: int = WIDTH, height: int = HEIGHT) -> PixelBox | BoxFault:
    return resolve(rect, width=width, height=height, rule=CropRule.EVEN_ALIGNED, min_px=1)


def box(x1: int, y1: int, x2: int, y2: int) -> PixelBox:
    return PixelBox(x1=x1, y1=y1, x2=x2, y2=y2)


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("golden", ["mot17mini_osnet_x0_25_msmt17.npz", "edgeboxes_osnet_x0_25_msmt17.npz"])
def test_golden_boxes(shared_data: Path, golden: str) -> None:
    """The pixels that every golden vector was made from."""
    with np.load(shared_data / "golden" / golden) as arrays:
        frames, floats, pixels = arrays["frame"], arrays["box_xyxy"], arrays["box_pixels"]
    assert len(frames) >= 10
    sized = {}
    for name in set(frames.tolist()):
        header = parse_encoded((shared_data / "frames" / name).read_bytes())
        sized[name] = (header.width, header.height)
    for frame, rect, expected in zip(frames.tolist(), floats.tolist(), pixels.tolist(), strict=True):
        width, height = sized[frame]
        assert exact(tuple(rect), width=width, height=height) == box(*expected)


@settings(deadline=None)
@given(rects, sizes, sizes, st.integers(1, 5))
def test_exact_agrees_with_numpy(rect: Rect, width: int, height: int, min_px: int) -> None:
    """Rounded by numpy and then clipped, as the golden boxes were, or refused for the first reason that holds."""
    found = exact(rect, width=width, height=height, min_px=min_px)
    corners = np.array(rect).reshape(2, 2)
    size = np.array([width, height])
    if not np.isfinite(corners).all() or (corners[1] <= corners[0]).any():
        assert found is BoxFault.INVALID
        return
    if (corners[0] >= size).any() or (corners[1] <= 0).any():
        assert found is BoxFault.OUTSIDE
        return
    pixels = np.clip(np.round(corners), 0, size).astype(int)
    if (pixels[1] - pixels[0] < min_px).any():
        assert found is BoxFault.TOO_SMALL
    else:
        assert found == box(*pixels.ravel().tolist())


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(0, 64 * 400).map(lambda parts: parts / 64)] * 4),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_even_agrees_with_nvinfer(rect: Rect, width: int, height: int) -> None:
    """As gstnvinfer computes it in integers, wherever its crop lies in the picture."""
    x1, y1, x2, y2 = rect
    found = even(rect, width=width, height=height)
    clipped = (min(x2, width) - x1, min(y2, height) - y1)
    if min(x2 - x1, y2 - y1) <= 0 or min(clipped) <= 0:
        assert isinstance(found, BoxFault)
        return
    left, top = (int(np.uint32(start) + 1) & ~1 for start in (x1, y1))
    columns, rows = (int(np.uint32(length)) & ~1 for length in clipped)
    if min(columns, rows) < 2:
        assert found is BoxFault.TOO_SMALL
    elif left + columns <= width and top + rows <= height:
        assert found == box(left, top, left + columns, top + rows)


@settings(deadline=None)
@given(rects, sizes, sizes, st.sampled_from(CropRule))
def test_what_is_found_can_be_cut(rect: Rect, width: int, height: int, rule: CropRule) -> None:
    """Whatever the floats: inside the picture, not empty, in integers; and all even where that is the rule."""
    found = resolve(rect, width=width, height=height, rule=rule, min_px=1)
    if isinstance(found, BoxFault):
        return
    assert 0 <= found.x1 < found.x2 <= width
    assert 0 <= found.y1 < found.y2 <= height
    numbers = (found.x1, found.y1, found.x2, found.y2)
    assert all(type(number) is int for number in numbers)
    assert 0 < quality(rect, found, LEVELS_INPUT) <= 1
    if rule is CropRule.EVEN_ALIGNED:
        assert all(number % 2 == 0 for number in numbers)


@pytest.mark.parametrize(
    ("rect", "expected"),
    [
        ((10, 10, 30, 50), box(10, 10, 30, 50)),
        ((11, 13, 31, 53), box(12, 14, 32, 54)),  # moved, not shortened
        ((11.9, 10.9, 31.9, 50.9), box(12, 10, 32, 50)),  # truncated before it is aligned
        ((10.6, 10, 31.5, 50), box(10, 10, 30, 50)),
        ((-5, -7, 21, 33), box(0, 0, 20, 32)),
        ((1899, 1059, 1930, 1090), box(1900, 1060, 1920, 1080)),
    ],
)
def test_even_alignment(rect: Rect, expected: PixelBox) -> None:
    """Clip; left and top truncated, then up to even; width and height truncated, then down to even."""
    assert even(rect) == expected


def test_even_alignment_at_an_odd_edge() -> None:
    """Where moving the box would push it over the edge, it loses two more pixels instead."""
    assert even((3, 2, 101, 100), width=101, height=101) == box(4, 2, 100, 100)


@settings(deadline=None)
@given(st.floats(0, 4000, width=32), st.integers(1, 500))
@example(2047 + 2**-13, 32)  # float32 has no 2079 + 2**-13
@example(4095 + 2**-12, 500)
def test_float32_noise_does_not_halve_a_width(left: float, width: int) -> None:
    """A detector's box of a whole width, sent as float32 corners, keeps its width (down to even)."""
    right = float(np.float32(left) + np.float32(width))
    found = even((left, 0.0, right, 2.0), width=8000, height=2)
    if width < 2:
        assert found is BoxFault.TOO_SMALL
    else:
        assert isinstance(found, PixelBox)
        assert found.width == width - width % 2


@pytest.mark.parametrize("rule", CropRule)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", range(4))
def test_numbers_that_are_not_finite(rule: CropRule, bad: float, at: int) -> None:
    """INVALID in any place, not an exception and not a clipped box."""
    numbers = [0.0, 0.0, 50.0, 50.0]
    numbers[at] = bad
    x1, y1, x2, y2 = numbers
    assert resolve((x1, y1, x2, y2), width=WIDTH, height=HEIGHT, rule=rule, min_px=1) is BoxFault.INVALID


@pytest.mark.parametrize(
    ("rect", "fault"),
    [
        ((50, 50, 10, 90), BoxFault.INVALID),
        ((50, 90, 60, 50), BoxFault.INVALID),
        ((50, 50, 50, 90), BoxFault.INVALID),
        ((2000, 2000, 1990, 2100), BoxFault.INVALID),  # its corners are looked at first
        ((1920, 0, 1930, 10), BoxFault.OUTSIDE),
        ((0, -10, 10, 0), BoxFault.OUTSIDE),
        ((0, 1080, 10, 1090), BoxFault.OUTSIDE),
        ((-10, 0, 0, 10), BoxFault.OUTSIDE),
        ((-10, -10, 0.9, 0.9), None),  # a pixel
        ((-10, -10, 0.4, 0.9), BoxFault.TOO_SMALL),
        ((1e30, 1e30, 2e30, 2e30), BoxFault.OUTSIDE),
        ((1919.6, 0, 1930, 10), BoxFault.TOO_SMALL),
        ((20.1, 20.1, 20.3, 20.3), BoxFault.TOO_SMALL),
        ((20.5, 20, 21.5, 30), None),  # 20 to 22
        ((21.5, 20, 22.5, 30), BoxFault.TOO_SMALL),  # 22 to 22
        ((-1e30, -1e30, 1e30, 1e30), None),
    ],
)
def test_faults(rect: Rect, fault: BoxFault | None) -> None:
    """Each way to have no pixels."""
    found = exact(rect)
    assert (found if isinstance(found, BoxFault) else None) is fault


def test_min_px_counts_pixels_after_clipping() -> None:
    """A wide box of which a sliver is in the picture is as small as the sliver."""
    assert exact((-100, 0, 3, 100), min_px=4) is BoxFault.TOO_SMALL
    assert exact((-100, 0, 4, 100), min_px=4) == box(0, 0, 4, 100)
    assert exact((0, 50, 100, 53), min_px=4) is BoxFault.TOO_SMALL
    assert exact((50, 0, 53, 100), min_px=4) is BoxFault.TOO_SMALL


@pytest.mark.parametrize(
    ("rect", "expected"),
    [
        ((0, 0, 128, 256), 1.0),
        ((0, 0, 1280, 1000), 1.0),  # larger than the network needs is not better
        ((0, 0, 64, 256), 0.5),
        ((0, 0, 64, 128), 0.25),
        ((-128, 0, 128, 256), 0.5),  # half of it is outside
        ((-128, -256, 128, 256), 0.25),
        ((-1000, 0, 1000, 256), 0.5),
    ],
)
def test_quality(rect: Rect, expected: float) -> None:
    """The share inside the picture, times how much of the network's input is filled without enlarging."""
    found = exact(rect)
    assert isinstance(found, PixelBox)
    assert quality(rect, found, LEVELS_INPUT) == pytest.approx(expected)


@settings(deadline=None)
@given(st.tuples(*[st.floats()] * 4), sizes, sizes, st.sampled_from(CropRule))
@example((-1.7e308, -1.7e308, 1.7e308, 1.7e308), 300, 300, CropRule.EXACT)  # its width is infinite
@example((0.5, 0.5, math.nextafter(0.5, 1), 2.0), 300, 300, CropRule.EXACT)
@example((0.5 - 2**-54, 0.0, 0.5 + 2**-53, 9.0), 300, 300, CropRule.EXACT)  # next to nothing, and yet a pixel
def test_quality_of_any_box(rect: Rect, width: int, height: int, rule: CropRule) -> None:
    """Between 0 and 1, whatever doubles the box is made of, and no more than the crop fills of the input."""
    found = resolve(rect, width=width, height=height, rule=rule, min_px=1)
    if isinstance(found, PixelBox):
        filled = min(1.0, found.width / LEVELS_INPUT.width) * min(1.0, found.height / LEVELS_INPUT.height)
        assert 0.0 <= quality(rect, found, LEVELS_INPUT) <= filled <= 1.0


def test_rounding_up_one_side_does_not_make_up_for_the_other() -> None:
    """A box that rounding made wider is still cut off below."""
    rect = (0.5, HEIGHT - 128, 129.5, HEIGHT + 128)  # 0 to 130
    found = exact(rect)
    assert isinstance(found, PixelBox)
    assert quality(rect, found, LEVELS_INPUT) == pytest.approx(0.5 * 0.5)
