"""Every planted fault is found, by a suite that the kernel itself passes."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emulation.cases import Case, levels_apart, network, picture, random_cases
from emulation.emulator import KERNEL, PLAIN, SANITIZED, Emulator, Job, KernelCrashed, Picture, build
from reidstream_engines.cuda.kernel_params import OutputType, pack_crops
from reidstream_engines.image import PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, Resize
from tests.emulation.mutants import MUTANTS, Mutant
from tests.emulation.test_hostile import BOXES

pytestmark = pytest.mark.needs("g++")

Check = tuple[Job, NDArray[np.float32]]

SMALL = [(24, 40), (33, 17), (7, 9), (96, 50), (40, 64)]


@cache
def suite(resize: Resize) -> list[Check]:
    """Launches, and what the CPU path makes of them."""
    checks: list[Check] = []
    for case in [*random_cases(11, [resize], 10, crops=8, sizes=SMALL), *borders(resize)]:
        expected = case.expected()
        checks += [(case.job(output), expected) for output in OutputType]
    return [*checks, hostile(resize)]


def borders(resize: Resize) -> list[Case]:
    """Whole pictures and corners of them, small sources, and tall and wide ones that are much reduced.

    64 x 64 fills its only block to the last thread; positions far out in a wide source show how they are rounded.
    """
    rng = np.random.default_rng(12)
    cases = []
    for order, size in ((ColorOrder.RGB, (64, 64)), (ColorOrder.GRAY, (33, 17)), (ColorOrder.BGR, (12, 30))):
        pictures = [picture(rng, kind, 30, 40) for kind in PixelFormat] + [picture(rng, PixelFormat.BGR, 180, 260)]
        pictures.append(picture(rng, PixelFormat.GRAY, 1900, 12))
        sliver = rng.integers(0, 256, 6 * 3, np.uint8).tobytes()
        pictures.append(Picture(format=PixelFormat.BGR, width=1, height=6, pitch=3, data=sliver))
        boxes = [(0, 0, 30, 40), (28, 37, 30, 40), (0, 0, 3, 9), (7, 5, 26, 31)]
        frames = [i for i in range(4) for _ in boxes]
        boxes = boxes * 4 + [(0, 0, 180, 12), (3, 1, 20, 260), (90, 90, 180, 260), (0, 0, 1900, 12), (0, 0, 1, 6)]
        spec = network(resize, order, Fit.STRETCH, size)
        cases.append(Case(spec=spec, pictures=pictures, frames=[*frames, 4, 4, 4, 5, 6], boxes=boxes))
    return cases


def hostile(resize: Resize) -> Check:
    """Crops that must all be black: boxes, frames, steps and placements that do not fit."""
    rng = np.random.default_rng(13)
    spec = network(resize, ColorOrder.RGB, Fit.STRETCH, (7, 9))
    sources = [picture(rng, kind, 30, 40) for kind in PixelFormat]
    good = pack_crops(spec, frame=[0], boxes=[(2, 3, 20, 33)])
    broken = []
    for field, value in (("frame", -1), ("frame", 4), ("step_x", np.nan), ("step_y", 1e9), ("left", 3), ("left", -1)):
        crop = good.copy()
        crop[field] = value
        broken.append(crop)
    flat = good.copy()
    flat["width"], flat["step_x"] = 0, 0.0
    broken.append(flat)
    crops = np.concatenate([pack_crops(spec, frame=[i % 4 for i in range(len(BOXES))], boxes=BOXES), *broken])
    job = Job(spec=spec, output=OutputType.FP32, pictures=sources, crops=crops)
    value = (-np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
    return job, np.broadcast_to(value.reshape(-1, 1, 1), job.shape)


def passes(kernel: Emulator, resize: Resize) -> bool:
    """Bit for bit, or for OpenCV's cubic 99 % of each launch and no value off by more than one level."""
    checks = suite(resize)
    try:
        found = kernel.run([job for job, _ in checks])
    except KernelCrashed:
        return False
    for batch, (job, expected) in zip(found, checks, strict=True):
        if resize is not Resize.OPENCV_BICUBIC:
            if not np.array_equal(batch, expected.astype(batch.dtype)):
                return False
            continue
        apart = levels_apart(job.spec, batch, expected)
        if apart.max() > 1 or (apart == 0).mean() < 0.99:
            return False
    return True


@pytest.mark.parametrize("flags", [PLAIN, SANITIZED], ids=["plain", "sanitized"])
def test_the_kernel_itself_passes(tmp_path: Path, flags: tuple[str, ...]) -> None:
    kernel = build(tmp_path, flags)
    for resize in Resize:
        assert passes(kernel, resize)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.name}")
def test_a_mutant_is_found(tmp_path: Path, mutant: Mutant) -> None:
    for path in [*KERNEL.glob("*.cuh"), *KERNEL.glob("*.cu")]:
        shutil.copy(path, tmp_path)
    source = tmp_path / mutant.file
    text = source.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.old!r} occurs {text.count(mutant.old)} times"
    source.write_text(text.replace(mutant.old, mutant.new))
    kernel = build(tmp_path, SANITIZED if mutant.sanitized else PLAIN, kernel=tmp_path, resizes=[mutant.resize])
    assert not passes(kernel, mutant.resize)


def test_mutants_have_names_of_their_own() -> None:
    names = [(mutant.file, mutant.name, mutant.resize) for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 80
