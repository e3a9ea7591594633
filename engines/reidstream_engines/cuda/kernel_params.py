"""The arguments of the crop kernel, as arrays whose bytes are the structs of `frame.cuh`.

Why the host computes steps and letterboxes: they take a few double operations per crop, which are slow on most GPUs,
and the kernel would repeat them in every thread. Also, a letterbox must be rounded as on the CPU. All functions here
work on all crops at once.

Traps: OpenCV's step is 1 / (target / source) and PIL's is source / target. They differ in the last bit, and positions
are rounded from them. A crop whose fields do not fit its frame becomes black; no error is raised, since code on a
device cannot raise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_never

from reidstream_engines.errors import UnsupportedProfile
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, InputSpec, Resize

from .nv12 import nv12_weights

Records: TypeAlias = npt.NDArray[np.void]
Integers: TypeAlias = npt.NDArray[np.int64]

SPEC = np.dtype(
    [
        ("width", "<i4"),
        ("height", "<i4"),
        ("channels", "<i4"),
        ("order", "<i4"),
        ("factor", "<f4", (3,)),
        ("offset", "<f4", (3,)),
        ("gray", "<i4", (3,)),
        ("gray_shift", "<i4"),
    ]
)
FRAME = np.dtype(
    [
        ("data", "<u8"),
        ("chroma", "<u8"),
        *((name, "<i4") for name in ("width", "height", "pitch", "chroma_pitch", "format", "black", "luma")),
        *((name, "<i4") for name in ("blue_u", "green_u", "green_v", "red_v", "blue_base", "green_base", "red_base")),
        *((name, "<i4") for name in ("shift", "reserved")),
    ]
)
CROP = np.dtype(
    [
        ("step_x", "<f8"),
        ("step_y", "<f8"),
        *((name, "<i4") for name in ("frame", "x", "y", "width", "height")),
        *((name, "<i4") for name in ("left", "top", "fit_width", "fit_height", "rows_first")),
    ]
)

BLOCK = 128
_TILE_COLUMNS, _TILE_ROWS = 4, 8
_MAX_GRID_Y = 65535
_MAX_SIDE = 1 << 15
_MAX_HALF = 65504.0

_ORDERS = {ColorOrder.RGB: 0, ColorOrder.BGR: 1, ColorOrder.GRAY: 2}
_FORMATS = {PixelFormat.RGB: 0, PixelFormat.BGR: 1, PixelFormat.GRAY: 2, PixelFormat.NV12: 3}
_OPENCV_GRAY = ((9798, 19235, 3735), 15)  # red, green, blue; binary places
_PILLOW_WITH_ROWS_FIRST = 13
_PIL_GRAY = ((19595, 38470, 7471), 16)


class OutputType(Enum):
    """The network's input type."""

    FP32 = "fp32"
    FP16 = "fp16"

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The numpy type of one element of the batch."""
        match self:
            case OutputType.FP32:
                return np.dtype(np.float32)
            case OutputType.FP16:
                return np.dtype(np.float16)
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFrame:
    """Where the pixels of a staged frame lie on the device: addresses, and pitches in bytes.

    The chroma fields, `color_matrix` and `color_range` are for NV12 only, whose width and height are even.
    """

    data: int
    format: PixelFormat
    width: int
    height: int
    pitch: int
    chroma: int = 0
    chroma_pitch: int = 0
    color_matrix: ColorMatrix = ColorMatrix.BT601
    color_range: ColorRange = ColorRange.LIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchShape:
    """Blocks in x, y, z and threads in x, y, z."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]


def launch_shape(spec: InputSpec, crops: int) -> LaunchShape:
    """How to launch the kernel for `crops` crops, at least 1."""
    tiles = -(-spec.width // _TILE_COLUMNS) * -(-spec.height // _TILE_ROWS)
    return LaunchShape(grid=(crops, -(-tiles // BLOCK), 1), block=(BLOCK, 1, 1))


def pack_spec(spec: InputSpec, output: OutputType) -> Records:
    """Shape () of SPEC: the kernel's first argument, by value.

    Raises UnsupportedProfile for what the device cannot do exactly: inputs too large for a launch, values that fp16
    cannot hold, and JPEGs at a smaller scale, which only the CPU decodes.
    """
    if spec.jpeg_scale != 1:
        raise UnsupportedProfile(
            f"jpeg_scale is {spec.jpeg_scale}; a GPU takes only 1, since only the CPU decodes JPEG at a smaller size"
        )
    if max(spec.width, spec.height) > _MAX_SIDE or launch_shape(spec, 1).grid[1] > _MAX_GRID_Y:
        raise UnsupportedProfile(
            f"the network's input of {spec.width} x {spec.height} pixels is more than the crop kernel takes; "
            f"at most {_MAX_SIDE} a side, and {_MAX_GRID_Y * BLOCK * _TILE_COLUMNS * _TILE_ROWS} together"
        )
    std = np.array(spec.std, np.float64)
    factor = (spec.scale / std).astype(np.float32)
    offset = (-np.array(spec.mean, np.float64) / std).astype(np.float32)
    ends = np.abs(np.concatenate([offset, np.float32(255.0) * factor + offset]))
    if output is OutputType.FP16 and not float(ends.max()) <= _MAX_HALF:
        raise UnsupportedProfile(
            f"normalised values reach {ends.max():g}, more than fp16 holds ({_MAX_HALF:g}): use fp32"
        )
    gray, shift = _gray_weights(spec.resize)
    channels = len(spec.mean)
    packed = np.zeros((), SPEC)
    packed["width"], packed["height"], packed["channels"] = spec.width, spec.height, channels
    packed["order"] = _ORDERS[spec.color_order]
    packed["factor"][:channels], packed["offset"][:channels] = factor, offset
    packed["gray"], packed["gray_shift"] = gray, shift
    return packed


def pack_frames(frames: list[DeviceFrame]) -> Records:
    """Shape (N,) of FRAME: the table of frames to which crops refer by index."""
    packed = np.zeros(len(frames), FRAME)
    for record, frame in zip(packed, frames, strict=True):
        for name in ("data", "chroma", "width", "height", "pitch", "chroma_pitch"):
            record[name] = getattr(frame, name)
        record["format"] = _FORMATS[frame.format]
        if frame.format is PixelFormat.NV12:
            for name, value in asdict(nv12_weights(frame.color_matrix, frame.color_range)).items():
                record[name] = value
    return packed


class PilPasses(Enum):
    """The order in which PIL resamples. PIL rounds between the two passes, so the order changes some levels."""

    COLUMNS_FIRST = "before Pillow 13"
    LESS_WORK_FIRST = "since Pillow 13"


def installed_pil_passes() -> PilPasses:
    """The order of the installed Pillow, so that CPU and GPU of a machine agree; without Pillow, the newest order."""
    try:
        major = int(version("pillow").split(".")[0])
    except PackageNotFoundError:
        return PilPasses.LESS_WORK_FIRST
    return PilPasses.LESS_WORK_FIRST if major >= _PILLOW_WITH_ROWS_FIRST else PilPasses.COLUMNS_FIRST


_INSTALLED_PIL_PASSES = installed_pil_passes()


def pack_crops(
    spec: InputSpec, *, frame: npt.ArrayLike, boxes: npt.ArrayLike, pil_passes: PilPasses = _INSTALLED_PIL_PASSES
) -> Records:
    """Shape (N,) of CROP from frame indices (N,) and boxes (N, 4), both integers; x1, y1, x2, y2 as in PixelBox.

    Boxes must lie in their frames; `boxes.resolve` ensures this, and applies the crop rule. A box outside its frame, or
    of a frame that does not exist, gives a black crop.
    """
    corners = np.asarray(boxes, np.int64).reshape(-1, 4)
    packed = np.zeros(len(corners), CROP)
    width, height = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    packed["frame"] = _clip(np.asarray(frame, np.int64))
    for name, values in (("x", corners[:, 0]), ("y", corners[:, 1]), ("width", width), ("height", height)):
        packed[name] = _clip(values)
    width, height = np.maximum(width, 1), np.maximum(height, 1)  # for a box without pixels, which becomes black
    fit_width, fit_height, left, top = _placements(spec, width, height)
    packed["fit_width"], packed["fit_height"], packed["left"], packed["top"] = fit_width, fit_height, left, top
    match spec.resize:
        case Resize.OPENCV_BILINEAR | Resize.OPENCV_BICUBIC:
            packed["step_x"], packed["step_y"] = 1.0 / (fit_width / width), 1.0 / (fit_height / height)
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            packed["step_x"], packed["step_y"] = width / fit_width, height / fit_height
            packed["rows_first"] = _rows_first(pil_passes, width - fit_width, height - fit_height)
        case _:
            assert_never(spec.resize)
    return packed


def _rows_first(passes: PilPasses, width_less: Integers, height_less: Integers) -> npt.NDArray[np.bool_]:
    """`*_less`: by how many pixels the resize shortens that side. The rule was measured on 1,347 sizes."""
    match passes:
        case PilPasses.COLUMNS_FIRST:
            return np.zeros(width_less.shape, np.bool_)
        case PilPasses.LESS_WORK_FIRST:
            return np.asarray(height_less > 2 * np.maximum(width_less, 0))
        case _:
            assert_never(passes)


def _clip(values: Integers) -> Integers:
    """Clip to int32. Values outside of int32 stay outside of every frame."""
    return np.clip(values, -(2**31), 2**31 - 1)


def _placements(spec: InputSpec, width: Integers, height: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """As `cpu.resize.placement`, for arrays: fit width, fit height, left, top."""
    fit_width, fit_height = np.full_like(width, spec.width), np.full_like(height, spec.height)
    if spec.fit is not Fit.STRETCH:
        wide = width * spec.height > height * spec.width
        fit_height = np.where(wide, np.maximum(1, _share(spec.resize, spec.width, height, width)), fit_height)
        fit_width = np.where(wide, fit_width, np.maximum(1, _share(spec.resize, spec.height, width, height)))
    match spec.fit:
        case Fit.LETTERBOX_CENTER:
            one, two = np.ones_like(width), np.full_like(width, 2)
            left = _share(spec.resize, spec.width - fit_width, one, two)
            top = _share(spec.resize, spec.height - fit_height, one, two)
        case Fit.LETTERBOX_CORNER | Fit.STRETCH:
            left, top = np.zeros_like(width), np.zeros_like(height)
        case _:
            assert_never(spec.fit)
    return fit_width, fit_height, left, top


def _share(resize: Resize, whole: int | Integers, part: Integers, of: Integers) -> Integers:
    match resize:
        case Resize.OPENCV_BILINEAR | Resize.OPENCV_BICUBIC:
            return whole * part // of
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            return np.rint(part / of * whole).astype(np.int64)
        case _:
            assert_never(resize)


def _gray_weights(resize: Resize) -> tuple[tuple[int, int, int], int]:
    match resize:
        case Resize.OPENCV_BILINEAR | Resize.OPENCV_BICUBIC:
            return _OPENCV_GRAY
        case Resize.PIL_BILINEAR | Resize.PIL_BICUBIC:
            return _PIL_GRAY
        case _:
            assert_never(resize)
