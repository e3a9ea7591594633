"""What an upper layer's fault may let through: black, finite, and not a byte read outside a picture or written outside
the batch. The sanitizers and the driver's own check of every read are the judges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reidstream_engines.cuda.kernel_params import OutputType, pack_crops
from reidstream_engines.image import PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, InputSpec, Resize
from tests.emulation.cases import network, picture
from tests.emulation.emulator import Emulator, Job, KernelCrashed, Picture

pytestmark = pytest.mark.needs("g++")

HUGE = 2**31 - 1
BOXES = [
    (-1, 0, 5, 5),
    (0, -1, 5, 5),
    (0, 0, 31, 5),
    (0, 0, 5, 41),
    (1, 0, 31, 5),
    (0, 1, 5, 41),
    (5, 5, 5, 9),
    (5, 5, 9, 5),
    (9, 9, 2, 2),
    (30, 40, 40, 50),
    (-HUGE, -HUGE, HUGE, HUGE),
    (HUGE, HUGE, HUGE, HUGE),
    (-(2**63), -(2**63), 0, 0),
    (2**40, 0, 2**40 + 5, 5),
    (0, 0, 2**32 + 5, 5),
    (HUGE - 2, 0, HUGE, 2),
    (HUGE - 2, 0, HUGE + 3, 2),
]
FIELDS = ("frame", "x", "y", "width", "height", "left", "top", "fit_width", "fit_height")


def pictures() -> list[Picture]:
    rng = np.random.default_rng(0)
    return [picture(rng, kind, 30, 40) for kind in PixelFormat]


def black(spec: InputSpec) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    value = (-np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    return np.broadcast_to(value.reshape(-1, 1, 1), (len(spec.mean), spec.height, spec.width))


@pytest.mark.parametrize("resize", list(Resize))
def test_boxes_outside_their_frame_are_black(kernel: Emulator, resize: Resize) -> None:
    """Negative, beyond, inverted, empty, and too large for 32 bits."""
    for fit in Fit:
        spec = network(resize, ColorOrder.RGB, fit, (7, 9))
        frames = [i % 4 for i in range(len(BOXES))]
        crops = pack_crops(spec, frame=frames, boxes=BOXES)
        job = Job(spec=spec, output=OutputType.FP32, pictures=pictures(), crops=crops)
        (found,) = kernel.run([job])
        for crop in found:
            np.testing.assert_array_equal(crop, black(spec))


@pytest.mark.parametrize("index", [-1, 4, 5, HUGE, -HUGE, 2**40])
def test_frames_that_do_not_exist_are_black(kernel: Emulator, index: int) -> None:
    spec = network(Resize.OPENCV_BILINEAR, ColorOrder.BGR, Fit.STRETCH, (8, 8))
    crops = pack_crops(spec, frame=[index, 0], boxes=[(0, 0, 5, 5), (0, 0, 5, 5)])
    job = Job(spec=spec, output=OutputType.FP32, pictures=pictures(), crops=crops)
    (found,) = kernel.run([job])
    np.testing.assert_array_equal(found[0], black(spec))
    assert not np.array_equal(found[1], black(spec))


@pytest.mark.parametrize("resize", list(Resize))
def test_garbage_in_any_field_stays_in_bounds(kernel: Emulator, resize: Resize) -> None:
    """Records as a broken host might send them: ints of any size, steps that are NaN, infinite, negative or huge."""
    rng = np.random.default_rng(1)
    spec = network(resize, ColorOrder.RGB, Fit.LETTERBOX_CENTER, (9, 12))
    count = 400
    crops = pack_crops(spec, frame=rng.integers(0, 4, count), boxes=np.tile([2, 3, 20, 33], (count, 1)))
    for crop in crops:
        for name in rng.choice(FIELDS, 2):
            crop[name] = rng.choice([-HUGE - 1, -HUGE, -7, -1, 0, 1, 2, 29, 30, 31, 40, 41, 1 << 30, HUGE])
        if rng.random() < 0.5:
            steps = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300, -1e300, 1e9, 2.0]
            crop[rng.choice(["step_x", "step_y"])] = rng.choice(steps)
    (found,) = kernel.run([Job(spec=spec, output=OutputType.FP32, pictures=pictures(), crops=crops)])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize("kind", list(PixelFormat))
def test_a_picture_of_the_least_size(kernel: Emulator, resize: Resize, kind: PixelFormat) -> None:
    """One pixel (NV12: two by two) to a whole network input, at any alignment: nothing around it is read."""
    spec = network(resize, ColorOrder.RGB, Fit.STRETCH, (24, 40))
    jobs = []
    for offset in range(4):
        source = replace(picture(np.random.default_rng(2), kind, 1, 1), offset=offset)
        crops = pack_crops(spec, frame=[0], boxes=[(0, 0, source.width, source.height)])
        jobs.append(Job(spec=spec, output=OutputType.FP32, pictures=[source], crops=crops))
    first, *others = kernel.run(jobs)
    assert np.isfinite(first).all()
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_the_judge_sees_one_byte_too_far(kernel: Emulator) -> None:
    """A frame that claims a row more than it has."""
    source = picture(np.random.default_rng(3), PixelFormat.BGR, 30, 40)
    liar = replace(source, height=41)
    spec = network(Resize.OPENCV_BILINEAR, ColorOrder.RGB, Fit.STRETCH, (40, 80))
    crops = pack_crops(spec, frame=[0], boxes=[(0, 0, 30, 41)])
    with pytest.raises(KernelCrashed, match="read outside every picture"):
        kernel.run([Job(spec=spec, output=OutputType.FP32, pictures=[liar], crops=crops)])
