"""From a crop to the network's input: cut, resize on uint8, normalise into the slot of a batch.

Why so few passes: at 256 x 128 the resize costs about 40 us and the normalisation about 22 us; a simple version of the
latter takes half a millisecond. `Scratch` is made once per batch buffer, and floats are written only into the batch, so
nothing is allocated per crop. y = x * (scale / std) - mean / std in float32, within 4e-7 of the exact value for
the usual constants.

Channel order: the frame says which order it has, the spec which order the network needs, and the planes are written in
that order. For GRAY networks the crop is turned to grey *before* the resize, like in a training pipeline that loads
grey pictures: with OpenCV's BGR2GRAY if OpenCV resizes, with PIL's convert("L") if PIL does.

Trap: OpenCV starts no threads of its own for pictures as small as crops. So nothing here depends on cv2.setNumThreads,
which a library must not set: it is one setting for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never

from reidstream_engines.image import PixelBox
from reidstream_engines.spec import ColorOrder, InputSpec, Resize

from .resize import Bytes, resizer
from .stager import CpuFrame

Floats = npt.NDArray[np.float32]


class Scratch:
    """The memory that one thread needs to prepare crops: the resized crop, and its planes.

    `channels` are views of `planes`. They are a list because OpenCV writes only into lists.
    """

    __slots__ = ("channels", "color", "gray", "planes")

    def __init__(self, spec: InputSpec) -> None:
        self.color: Bytes = np.empty((spec.height, spec.width, 3), np.uint8)
        self.gray: Bytes = np.empty((spec.height, spec.width), np.uint8)
        self.planes: Bytes = np.empty((3, spec.height, spec.width), np.uint8)
        self.channels: list[Bytes] = list(self.planes)


class Preprocessor:
    """Prepares crops as `spec` says. Any number of threads, each with a `Scratch` of its own.

    Making one raises UnsupportedProfile if the spec cannot be followed exactly here.
    """

    def __init__(self, spec: InputSpec) -> None:
        self._order = spec.color_order
        self._resize = resizer(spec)
        self._to_gray = _to_gray(spec.resize)
        std = np.array(spec.std, np.float64)
        mean = np.array(spec.mean, np.float64)
        self._factor: Floats = (spec.scale / std).astype(np.float32).reshape(-1, 1, 1)
        self._offset: Floats = (-mean / std).astype(np.float32).reshape(-1, 1, 1)

    def write(self, frame: CpuFrame, box: PixelBox, slot: Floats, scratch: Scratch) -> None:
        """Fill `slot`, float32 (C, H, W) and contiguous, from the box. Raises EngineFault for a closed frame."""
        crop = frame.cut(box)
        source: Bytes
        if frame.order is ColorOrder.GRAY or self._order is ColorOrder.GRAY:
            if frame.order is not ColorOrder.GRAY:
                crop = self._to_gray(crop, frame.order)
            self._resize(crop, scratch.gray)
            source = scratch.gray  # the same plane for every channel of the network
        else:
            self._resize(crop, scratch.color)
            source = scratch.planes
            cv2.split(scratch.color, scratch.channels if frame.order is self._order else scratch.channels[::-1])
        np.multiply(source, self._factor, out=slot)
        np.add(slot, self._offset, out=slot)


def _to_gray(resize: Resize) -> Callable[[Bytes, ColorOrder], Bytes]:
    match resize:
        case Resize.OPENCV_BILINEAR | Resize.OPENCV_BICUBIC:
            return _gray_by_opencv
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            return _gray_by_pil()
        case _:
            assert_never(resize)


def _gray_by_opencv(crop: Bytes, order: ColorOrder) -> Bytes:
    gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY if order is ColorOrder.BGR else cv2.COLOR_RGB2GRAY)
    return np.asarray(gray, np.uint8)


def _gray_by_pil() -> Callable[[Bytes, ColorOrder], Bytes]:
    from PIL import Image  # noqa: PLC0415 - optional; without it `resizer` has refused already

    def convert(crop: Bytes, order: ColorOrder) -> Bytes:
        rgb = crop if order is ColorOrder.RGB else crop[:, :, ::-1]
        return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))

    return convert
