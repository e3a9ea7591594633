"""What was given instead of a picture, and the line that makes a picture of it.

Why so many cases: each is what some library hands out, and a program that guesses wrong about the order of colours or
the range of numbers gets vectors that look right. Trap: nothing here may fail, since it runs for objects of any kind.
So kinds of other packages are told by their names, and nothing of them is called.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reidstream_client.checks import shown
from reidstream_client.options import FrameInput

from .encoded_size import file_kind
from .images import Crops

_TAKEN: Final = (
    "an image is a uint8 array (H, W, 3) in BGR or (H, W) in grey, the bytes of a JPEG, PNG or WebP file, RawFrame, "
    "Nv12, or Crops"
)
_OF_PACKAGE: Final = {
    "PIL": 'np.asarray(image.convert("RGB"))[:, :, ::-1]',
    "torch": "image.cpu().numpy(), as uint8 of shape (H, W, 3) in BGR",
    "tensorflow": "image.numpy(), as uint8 of shape (H, W, 3) in BGR",
    "jax": "np.asarray(image), as uint8 of shape (H, W, 3) in BGR",
    "jaxlib": "np.asarray(image), as uint8 of shape (H, W, 3) in BGR",
    "cupy": "image.get()",
    "av": 'image.to_ndarray(format="bgr24")',
    "cv2": "image.get() of a UMat, image.download() of a GpuMat",
    "pathlib": "image.read_bytes()",
    "_io": "image.read() of a file that was opened with 'rb'",
}
_BY_ATTRIBUTE: Final = {
    "__fspath__": "Path(image).read_bytes()",
    "__array__": "np.asarray(image), as uint8 of shape (H, W, 3) in BGR",
    "__array_interface__": "np.asarray(image), as uint8 of shape (H, W, 3) in BGR",
    "read": "image.read()",
}
_OF_CHANNELS: Final = {
    4: "image[:, :, :3] if it is BGRA, image[:, :, 2::-1] if it is RGBA",
    2: 'RawFrame(data=image, width=image.shape[1], height=image.shape[0], format="yuyv") if it is YUYV',
    1: "image[:, :, 0]",
}
_BASE64: Final = "base64.b64decode(image), without the words before its comma, if it is base64"
_LONGEST_NAME: Final = 400


def picture_misfit(given: object) -> str:
    """For a message: what an object is that is no picture, and how to give it."""
    return f"{shown(given)} is no image{_conversion(given)} ({_TAKEN})"


def array_misfit(image: npt.NDArray[Any]) -> str:
    """The same for an array whose shape or dtype is wrong."""
    if image.ndim == 2 and image.shape[1] == 4 and image.dtype.kind == "f":  # noqa: PLR2004 - (N, 4)
        return f"an image must come first, and boxes after it; {shown(image)} looks like boxes"
    said = f"an image array must be uint8 of shape (H, W, 3) or (H, W), not {image.dtype} of shape {image.shape}"
    if not image.size:
        return f"{said}: it has no pixels; look at the box that it was cut out with, or at where it was read"
    advice = _shape_advice(image) if image.dtype == np.uint8 else _dtype_advice(image)
    return f"{said}{advice}"


def _conversion(given: object) -> str:
    match given:
        case None:
            return ": cv2.imread gives None for a file that it cannot read, and a camera without a frame does, too"
        case str():
            is_name = len(given) <= _LONGEST_NAME and not given.startswith("data:")
            return f"; give {'Path(image).read_bytes(), if it is the name of a file' if is_name else _BASE64}"
        case tuple() | list():
            return _of_sequence(given)
        case FrameInput():
            return "; a FrameInput is for send_frame and embed_many"
        case Crops():
            return "; Crops are no picture of Crops"
        case _:
            return _by_kind(given)


def _by_kind(given: object) -> str:
    package = type(given).__module__.partition(".")[0]
    if package in _OF_PACKAGE:
        return f"; give {_OF_PACKAGE[package]}"
    for attribute, line in _BY_ATTRIBUTE.items():
        if hasattr(given, attribute):
            return f"; give {line}"
    try:
        memoryview(given)  # type: ignore[arg-type] # that is the question
    except TypeError:
        return ""
    return "; give memoryview(image) of a file, or RawFrame(data=image, ...) of pixels"


def _of_sequence(given: tuple[object, ...] | list[object]) -> str:
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], bool | np.bool_):  # noqa: PLR2004 - a pair
        return " that begins with a bool; the picture of cv2's read() and imencode() is its second item, image[1]"
    if given and all(isinstance(one, np.ndarray | bytes) for one in given):
        return "; several pictures are frames of embed_many, or Crops(images)"
    return "; give np.array(image, np.uint8)"


def _shape_advice(image: npt.NDArray[Any]) -> str:
    match image.shape:
        case (_,) | (_, 1) | (1, _):
            return _flat_advice(image)
        case (_, _, channels) if channels in _OF_CHANNELS:
            return f"; give {_OF_CHANNELS[channels]}"
        case (3, _, _):
            return "; give image.transpose(1, 2, 0), in BGR"
        case (1, _, _) | (1, _, _, 3):
            return "; give image[0]"
        case (_, _, _, 3):
            return "; several pictures are frames of embed_many, or Crops(list(images))"
        case _:
            return ""


def _flat_advice(image: npt.NDArray[Any]) -> str:
    kind = file_kind(image.reshape(-1)[:16].tobytes())
    if kind is not None:
        return f": it is a {kind} file, which servers do not read; encode it as JPEG, PNG or WebP"
    return ": it is no JPEG, PNG or WebP file; for pixels give RawFrame(data=image, width=..., height=..., format=...)"


def _dtype_advice(image: npt.NDArray[Any]) -> str:
    match image.dtype.kind:
        case "f":
            in_units = float(np.nanmax(image, initial=0.0)) <= 1.0
            return f"; give {'(image * 255).round()' if in_units else 'image.round()'}.astype(np.uint8)"
        case "b":
            return "; give image * np.uint8(255)"
        case "u" | "i" if image.dtype.itemsize == 1:
            return "; give image.view(np.uint8)"
        case "u" | "i":
            return (
                "; give (image >> 8).astype(np.uint8) if it has 16 bits, image.astype(np.uint8) if its numbers are 0 "
                "to 255"
            )
        case "O":
            return ": its items are objects, such as pictures of different sizes; send them one by one, or as Crops"
        case _:
            return ""
