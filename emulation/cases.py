"""Pictures and crops for the emulated kernel, and what the CPU path makes of them.

Why the CPU path is the yardstick: it calls cv2.resize and PIL.Image.resize, and a model's vectors must not depend on
the device. Levels (0 to 255) are compared, not normalised values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulation.emulator import Job, Picture
from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.kernel_params import OutputType, pack_crops
from reidstream_engines.image import ColorMatrix, ColorRange, PixelBox, PixelFormat
from reidstream_engines.spec import ColorOrder, CropRule, Fit, InputSpec, Resize

Box = tuple[int, int, int, int]

SIZES = [(128, 256), (24, 40), (33, 17), (7, 9), (96, 50), (4, 8)]
"""Width and height of network inputs: a usual one, and some whose rows do not fit vector stores."""

HUGE = 2**31 - 1
_INTEGERS = ("frame", "x", "y", "width", "height", "left", "top", "fit_width", "fit_height")
_STEPS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300, -1e300, 1e9, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A launch of valid boxes; `frames` and `boxes` have one item per crop."""

    spec: InputSpec
    pictures: Sequence[Picture]
    frames: Sequence[int]
    boxes: Sequence[Box]

    def job(self, output: OutputType = OutputType.FP32) -> Job:
        """The case for the kernel."""
        crops = pack_crops(self.spec, frame=self.frames, boxes=self.boxes)
        return Job(spec=self.spec, output=output, pictures=self.pictures, crops=crops)

    def expected(self) -> NDArray[np.float32]:
        """What the CPU path makes of it."""
        spec = self.spec
        batch = np.empty((len(self.boxes), len(spec.mean), spec.height, spec.width), np.float32)
        preprocessor, scratch, stager = Preprocessor(spec), Scratch(spec), CpuStager()
        for index, (x1, y1, x2, y2), slot in zip(self.frames, self.boxes, batch, strict=True):
            box = PixelBox(x1=x1, y1=y1, x2=x2, y2=y2)
            with stager.stage(self.pictures[index].raw(), [box]) as frame:
                preprocessor.write(frame, box, slot, scratch)
        return batch


def levels_apart(spec: InputSpec, found: NDArray[np.generic], expected: NDArray[np.float32]) -> NDArray[np.int64]:
    """The difference of each value in levels; 999 where a value is not finite."""
    factor = (spec.scale / np.array(spec.std)).reshape(-1, 1, 1)
    apart = np.abs(found.astype(np.float64) - expected) / factor
    return np.rint(np.where(np.isfinite(apart), apart, 999)).astype(np.int64)


def network(resize: Resize, order: ColorOrder, fit: Fit, size: tuple[int, int]) -> InputSpec:
    """An input with a mean and a deviation of its own in each channel."""
    channels = 1 if order is ColorOrder.GRAY else 3
    return InputSpec(
        name="input",
        width=size[0],
        height=size[1],
        color_order=order,
        resize=resize,
        fit=fit,
        crop_rule=CropRule.EXACT,
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406)[:channels],
        std=(0.229, 0.224, 0.225)[:channels],
    )


def picture(rng: np.random.Generator, kind: PixelFormat, width: int, height: int) -> Picture:
    """Noise, with some bytes of padding after each row, at any alignment."""
    if kind is PixelFormat.NV12:
        width, height = width + width % 2, height + height % 2
    row = width * (3 if kind in (PixelFormat.BGR, PixelFormat.RGB) else 1)
    pitch, chroma_pitch = row + int(rng.integers(0, 20)), width + int(rng.integers(0, 9))
    chroma = b""
    if kind is PixelFormat.NV12:
        chroma = rng.integers(0, 256, (height // 2 - 1) * chroma_pitch + width, np.uint8).tobytes()
    return Picture(
        format=kind,
        width=width,
        height=height,
        pitch=pitch,
        data=rng.integers(0, 256, (height - 1) * pitch + row, np.uint8).tobytes(),
        offset=int(rng.integers(0, 4)),
        chroma=chroma,
        chroma_pitch=chroma_pitch,
        color_matrix=list(ColorMatrix)[rng.integers(2)],
        color_range=list(ColorRange)[rng.integers(2)],
    )


def random_box(rng: np.random.Generator, width: int, height: int, spec: InputSpec) -> Box:
    """Any rectangle; sometimes the whole picture, or exactly twice the network's size."""
    if rng.random() < 0.2 and width >= 2 * spec.width and height >= 2 * spec.height:
        return 0, 0, 2 * spec.width, 2 * spec.height
    x1, x2 = sorted(rng.integers(0, width + 1, 2).tolist())
    y1, y2 = sorted(rng.integers(0, height + 1, 2).tolist())
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else (0, 0, width, height)


def random_cases(
    seed: int, resizes: Sequence[Resize], count: int, crops: int = 6, sizes: Sequence[tuple[int, int]] = SIZES
) -> Iterator[Case]:
    """`count` per resize, over all formats, orders, fits and sizes."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        for resize in resizes:
            order, fit = list(ColorOrder)[rng.integers(3)], list(Fit)[rng.integers(3)]
            spec = network(resize, order, fit, sizes[number % len(sizes)])
            pictures = [picture(rng, kind, *rng.integers(1, (201, 301)).tolist()) for kind in PixelFormat]
            frames = rng.integers(0, len(pictures), crops).tolist()
            boxes = [random_box(rng, pictures[i].width, pictures[i].height, spec) for i in frames]
            yield Case(spec=spec, pictures=pictures, frames=frames, boxes=boxes)


def pictures_of_every_format(seed: int) -> list[Picture]:
    """One picture of 30 x 40 pixels in each format."""
    rng = np.random.default_rng(seed)
    return [picture(rng, kind, 30, 40) for kind in PixelFormat]


def hostile_crops(seed: int, resize: Resize, output: OutputType, count: int = 400) -> Job:
    """Records as a broken host might send them: ints of any size, steps that are NaN, infinite, negative or huge."""
    rng = np.random.default_rng(seed)
    spec = network(resize, ColorOrder.RGB, Fit.LETTERBOX_CENTER, (9, 12))
    crops = pack_crops(spec, frame=rng.integers(0, 4, count), boxes=np.tile([2, 3, 20, 33], (count, 1)))
    for crop in crops:
        for name in rng.choice(_INTEGERS, 2):
            crop[name] = rng.choice([-HUGE - 1, -HUGE, -7, -1, 0, 1, 2, 29, 30, 31, 40, 41, 1 << 30, HUGE])
        if rng.random() < 0.5:
            crop[rng.choice(["step_x", "step_y"])] = rng.choice(_STEPS)
    return Job(spec=spec, output=output, pictures=pictures_of_every_format(seed), crops=crops)
