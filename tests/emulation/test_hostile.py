"""What an upper layer's fault may let through: black, finite, and not a byte read outside a picture or written outside
the batch. The sanitizers and the driver's own check of every read are the judges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emulation.cases import HUGE, hostile_crops, network, picture, pictures_of_every_format
from emulation.emulator import Emulator, Job, KernelCrashed
from reidstream_engines.cuda.kernel_params import OutputType, pack_crops
from reidstream_engines.image import PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, InputSpec, Resize

pytestmark = pytest.mark.needs("g++")

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
        job = Job(spec=spec, output=OutputType.FP32, pictures=pictures_of_every_format(0), crops=crops)
        (found,) = kernel.run([job])
        for crop in found:
            np.testing.assert_array_equal(crop, black(spec))


@pytest.mark.parametrize("index", [-1, 4, 5, HUGE, -HUGE, 2**40])
def test_frames_that_do_not_exist_are_black(kernel: Emulator, index: int) -> None:
    spec = network(Resize.OPENCV_BILINEAR, ColorOrder.BGR, Fit.STRETCH, (8, 8))
    crops = pack_crops(spec, frame=[index, 0], boxes=[(0, 0, 5, 5), (0, 0, 5, 5)])
    job = Job(spec=spec, output=OutputType.FP32, pictures=pictures_of_every_format(0), crops=crops)
    (found,) = kernel.run([job])
    np.testing.assert_array_equal(found[0], black(spec))
    assert not np.array_equal(found[1], black(spec))


@pytest.mark.parametrize("resize", list(Resize))
def test_garbage_in_any_field_stays_in_bounds(kernel: Emulator, resize: Resize) -> None:
    """Records as a broken host might send them."""
    (found,) = kernel.run([hostile_crops(1, resize, OutputType.FP32)])
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
