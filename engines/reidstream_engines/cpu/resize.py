"""Brings a crop to the network's size, in the one way that its spec names.

Why so strict: vectors made with another resize are close enough to look right and far enough to be wrong (PIL's
antialiased bilinear against OpenCV's: cosine 0.99). `cv2.resize` with INTER_LINEAR and `PIL.Image.resize` themselves do
the work. A letterbox has the size of `PIL.ImageOps.contain` and the offset of `PIL.ImageOps.pad` whichever of them
scales: both are rounded half to even, and a picture keeps at least one pixel a side.

Trap: `cv2.resize` silently makes a new array where `dst` has not exactly the right shape. Everything here writes into
the target that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never

from reidstream_engines.errors import UnsupportedProfile
from reidstream_engines.spec import Fit, InputSpec, Resize

Bytes: TypeAlias = npt.NDArray[np.uint8]
Resizer: TypeAlias = Callable[[Bytes, Bytes], None]
"""(source (h, w[, 3]), target (H, W[, 3])): fills the target; rows of both may be strided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the resized crop lies in the network's input, in pixels."""

    left: int
    top: int
    width: int
    height: int


def resizer(spec: InputSpec) -> Resizer:
    """What fills a target of the network's size as `spec` says.

    Raises UnsupportedProfile where PIL is needed and missing.
    """
    scale: Resizer
    match spec.resize:
        case Resize.OPENCV_BILINEAR:
            scale = partial(_opencv, cv2.INTER_LINEAR)
        case Resize.OPENCV_BICUBIC:
            scale = partial(_opencv, cv2.INTER_CUBIC)
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            scale = _pil(spec.resize)
        case _:
            assert_never(spec.resize)
    if spec.fit is Fit.STRETCH:
        return scale
    return _letterbox(scale, spec.fit)


def placement(fit: Fit, *, source: tuple[int, int], target: tuple[int, int]) -> Placement:
    """Where a crop of the size `source` lies in `target`; both (width, height)."""
    width, height = target
    if fit is Fit.STRETCH:
        return Placement(left=0, top=0, width=width, height=height)
    source_width, source_height = source
    if source_width * height > source_height * width:
        height = max(1, round(source_height / source_width * width))
    elif source_width * height < source_height * width:
        width = max(1, round(source_width / source_height * height))
    if fit is Fit.LETTERBOX_CORNER:
        return Placement(left=0, top=0, width=width, height=height)
    return Placement(
        left=round((target[0] - width) / 2), top=round((target[1] - height) / 2), width=width, height=height
    )


def _letterbox(scale: Resizer, fit: Fit) -> Resizer:
    def fill(source: Bytes, target: Bytes) -> None:
        place = placement(fit, source=(source.shape[1], source.shape[0]), target=(target.shape[1], target.shape[0]))
        target.fill(0)
        scale(source, target[place.top : place.top + place.height, place.left : place.left + place.width])

    return fill


def _opencv(interpolation: int, source: Bytes, target: Bytes) -> None:
    cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=interpolation)


def _pil(resize: Resize) -> Resizer:
    try:
        from PIL import Image  # noqa: PLC0415  an optional extra, needed by these profiles only
    except ImportError as error:
        raise UnsupportedProfile(
            f"the resize {resize.value} is PIL's, and Pillow is not installed: pip install 'reidstream-engines[pil]'"
        ) from error
    method = Image.Resampling.BILINEAR if resize is Resize.PIL_BILINEAR else Image.Resampling.BICUBIC

    def scale(source: Bytes, target: Bytes) -> None:
        size = (target.shape[1], target.shape[0])
        target[...] = np.asarray(Image.fromarray(np.ascontiguousarray(source)).resize(size, method))

    return scale
