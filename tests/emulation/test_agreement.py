"""The kernel's source, on a CPU under the sanitizers, against OpenCV and PIL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import cv2
import numpy as np
import pytest

from emulation.cases import Case, levels_apart, network, picture, random_cases
from emulation.emulator import Emulator, Job, layout_of_dtypes
from reidstream_engines.cuda.kernel_params import OutputType, PilPasses, pack_crops
from reidstream_engines.image import PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, Resize

pytestmark = pytest.mark.needs("g++")

BIT_EQUAL = [Resize.OPENCV_BILINEAR, Resize.PIL_BILINEAR, Resize.PIL_BICUBIC]


def test_structs_are_the_dtypes(kernel: Emulator) -> None:
    assert kernel.layout() == layout_of_dtypes()


@pytest.mark.parametrize("resize", BIT_EQUAL)
def test_random_crops_are_the_cpus_bit_for_bit(kernel: Emulator, resize: Resize) -> None:
    """Every format, pitch, alignment, order, fit and size; the normalised floats, too."""
    cases = list(random_cases(1, [resize], 30))
    for case, found in zip(cases, kernel.run([case.job() for case in cases]), strict=True):
        np.testing.assert_array_equal(found, case.expected(), strict=True)


def test_opencv_bicubic_is_the_cpus_but_for_single_levels(kernel: Emulator) -> None:
    """At least 99.9 % of the values of each format, and none off by more than one level."""
    cases = list(random_cases(2, [Resize.OPENCV_BICUBIC], 30))
    apart = defaultdict(list)
    for case, found in zip(cases, kernel.run([case.job() for case in cases]), strict=True):
        for index, differences in zip(case.frames, levels_apart(case.spec, found, case.expected()), strict=True):
            apart[case.pictures[index].format].append(differences.ravel())
    assert set(apart) == set(PixelFormat)
    for crops in apart.values():
        values = np.concatenate(crops)
        assert values.max() <= 1
        assert (values == 0).mean() >= 0.999


def test_the_yardstick_is_opencvs_own_resize(kernel: Emulator) -> None:
    """No code of ours between: a BGR crop, cv2.resize, the kernel."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (300, 200, 3), np.uint8)
    source = replace(picture(rng, PixelFormat.BGR, 200, 300), pitch=600, data=pixels.tobytes())
    plain = network(Resize.OPENCV_BILINEAR, ColorOrder.BGR, Fit.STRETCH, (128, 256))
    spec = replace(plain, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    case = Case(spec=spec, pictures=[source], frames=[0, 0], boxes=[(11, 7, 73, 190), (0, 0, 200, 300)])
    (found,) = kernel.run([case.job()])
    for crop, (x1, y1, x2, y2) in zip(found, case.boxes, strict=True):
        np.testing.assert_array_equal(crop.transpose(1, 2, 0), cv2.resize(pixels[y1:y2, x1:x2], (128, 256)))


@pytest.mark.parametrize("resize", list(Resize))
def test_halves_are_the_floats_rounded(kernel: Emulator, resize: Resize) -> None:
    """To nearest even, as numpy does it."""
    cases = list(random_cases(4, [resize], 6))
    floats = kernel.run([case.job() for case in cases])
    halves = kernel.run([case.job(OutputType.FP16) for case in cases])
    for half, single in zip(halves, floats, strict=True):
        np.testing.assert_array_equal(half, single.astype(np.float16), strict=True)


def test_a_crop_does_not_depend_on_its_batch(kernel: Emulator) -> None:
    """Batch 1 = batch N, in any order, and again."""
    (case,) = random_cases(5, [Resize.OPENCV_BILINEAR], 1, crops=9)
    job = case.job()
    alone = [replace(job, crops=job.crops[i : i + 1]) for i in range(len(job.crops))]
    whole, again, backwards, *rest = kernel.run([job, job, replace(job, crops=job.crops[::-1]), *alone])
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_array_equal(whole, backwards[::-1])
    np.testing.assert_array_equal(whole, np.concatenate(rest))


def test_older_pillows_begin_with_columns(kernel: Emulator) -> None:
    """A tall crop comes out otherwise then, by single levels, and only where Pillow 13 begins with rows."""
    rng = np.random.default_rng(6)
    source = picture(rng, PixelFormat.BGR, 150, 300)
    spec = network(Resize.PIL_BILINEAR, ColorOrder.RGB, Fit.STRETCH, (24, 40))
    boxes = [(0, 0, 60, 300), (0, 0, 150, 60)]
    packed = [pack_crops(spec, frame=[0, 0], boxes=boxes, pil_passes=passes) for passes in PilPasses]
    jobs = [Job(spec=spec, output=OutputType.FP32, pictures=[source], crops=crops) for crops in packed]
    old, new = kernel.run(jobs)
    apart = levels_apart(spec, old, new.astype(np.float32))
    assert apart[0].max() == 1
    assert not apart[1].any()
