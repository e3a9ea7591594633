"""Brings a crop to the network's size, exactly in the way that its spec names.

Why so strict: vectors made with another resize look right but are wrong (PIL's antialiased bilinear against OpenCV's:
cosine 0.99). `cv2.resize` and `PIL.Image.resize` themselves do the work. Letterboxes are made as in the pipelines that
use them. With PIL as by `PIL.ImageOps.pad`: size and offset are rounded, halves to even. With OpenCV as by DeepStream's
nvinfer (`maintain-aspect-ratio`, centred with `symmetric-padding`): both are rounded down. In both cases each side
keeps at least one pixel.

Trap: `cv2.resize` silently makes a new array if `dst` does not have exactly the right shape. Everything here must write
into the target that it is given.
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
    """A function that fills a target of the network's size as `spec` says.

    Raises UnsupportedProfile if PIL is needed and not installed.
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
    return scale if spec.fit is Fit.STRETCH else partial(_letterbox, scale, spec)


def placement(spec: InputSpec, *, width: int, height: int) -> Placement:
    """Where a crop of this size lies in the network's input."""
    fit_width, fit_height = spec.width, spec.height
    share = _share(spec.resize)
    if spec.fit is not Fit.STRETCH:
        if width * spec.height > height * spec.width:
            fit_height = max(1, share(spec.width, height, width))
        else:
            fit_width = max(1, share(spec.height, width, height))
    match spec.fit:
        case Fit.LETTERBOX_CENTER:
            left, top = share(spec.width - fit_width, 1, 2), share(spec.height - fit_height, 1, 2)
        case Fit.LETTERBOX_CORNER | Fit.STRETCH:
            left, top = 0, 0
        case _:
            assert_never(spec.fit)
    return Placement(left=left, top=top, width=fit_width, height=fit_height)


def _letterbox(scale: Resizer, spec: InputSpec, source: Bytes, target: Bytes) -> None:
    place = placement(spec, width=source.shape[1], height=source.shape[0])
    target.fill(0)
    scale(source, target[place.top : place.top + place.height, place.left : place.left + place.width])


def _opencv(interpolation: int, source: Bytes, target: Bytes) -> None:
    cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=interpolation)


def _pil(resize: Resize) -> Resizer:
    try:
        from PIL import Image  # noqa: PLC0415 - an optional extra, needed by these profiles only
    except ImportError as error:
        raise UnsupportedProfile(
            f"the resize {resize.value} needs Pillow, which is not installed: pip install 'reidstream-engines[pil]'"
        ) from error
    method = Image.Resampling.BILINEAR if resize is Resize.PIL_BILINEAR else Image.Resampling.BICUBIC

    def scale(source: Bytes, target: Bytes) -> None:
        size = (target.shape[1], target.shape[0])
        target[...] = np.asarray(Image.fromarray(np.ascontiguousarray(source)).resize(size, method))

    return scale


def _share(resize: Resize) -> Callable[[int, int, int], int]:
    """How `whole * part / of` is rounded to an integer."""
    match resize:
        case Resize.OPENCV_BILINEAR | Resize.OPENCV_BICUBIC:
            return lambda whole, part, of: whole * part // of
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            return lambda whole, part, of: round(
                part / of * whole
            )  # in PIL's order of operations, since halves may not be exact
        case _:
            assert_never(resize)
