"""Calls libjpeg-turbo's shared library to decode a part of a JPEG, which no Python package can do.

Why ctypes: other threads run during a call, a call takes a microsecond, and no compiler is needed here. The library is
the system's (3.0 or newer; many systems still have 2.1, which cannot decode a part), or the one in the wheel of the
package `turbojpeg` (its Python functions cannot do this and are not imported). Without either, pictures are decoded
whole.

Traps: a decompressor keeps tables from one picture to the next, and more than tables after a damaged header. If it were
reused, data of one camera could change another camera's frame. So each picture gets a decompressor of its own, which
costs 3 microseconds. And the wheel's library is 2.1.92, a version between the second beta of 3.0 and 3.0 itself. Only
pictures with a `JpegLayout` come here: they cannot reach any of its known faults (docs/architecture.md, "Hostile
JPEGs").
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import InvalidImage

from .complaints import Complaint

Bytes = npt.NDArray[np.uint8]

TURBOJPEG_INSTALL = "pip install 'reidstream-engines[region]'"
"""Installs the library for systems that do not have it."""

_SYSTEM_LIBRARY = "libturbojpeg.so.0"

# turbojpeg.h: members of enum TJINIT, TJPARAM and TJPF.
_INIT_DECOMPRESS = 1
_STOP_ON_WARNING, _JPEG_WIDTH, _JPEG_HEIGHT = 0, 5, 6
_BGR = 1
_WARNING = 0  # of enum TJERR: the picture was decoded to its end all the same


class _Region(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


class _Factor(ctypes.Structure):
    _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


class TurboJpeg:
    """The library at `path`. Any number of threads. Raises OSError if there is no library, AttributeError if it is too
    old.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        handle, data, size, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
        self.path = path
        self._init = _function(library, "tj3Init", handle, integer)
        self._error = _function(library, "tj3GetErrorStr", handle, handle)
        self._error_code = _function(library, "tj3GetErrorCode", integer, handle)
        self._set = _function(library, "tj3Set", integer, handle, integer, integer)
        self._get = _function(library, "tj3Get", integer, handle, integer)
        self._header = _function(library, "tj3DecompressHeader", integer, handle, data, size)
        self._scale = _function(library, "tj3SetScalingFactor", integer, handle, _Factor)
        self._crop = _function(library, "tj3SetCroppingRegion", integer, handle, _Region)
        self._decompress = _function(
            library, "tj3Decompress8", integer, handle, data, size, ctypes.c_void_p, integer, integer
        )
        self._destroy = _function(library, "tj3Destroy", None, handle)

    def decode(
        self, data: bytes, out: Bytes, *, x: int, y: int, size: tuple[int, int], scale: int, strict: bool = True
    ) -> None:
        """Fill `out`, uint8 (h, w, 3) and contiguous, with the BGR pixels of the picture from (x, y) on.

        `size`: width and height of the whole picture, from its header. It is decoded at 1/`scale` (1, 2, 4 or 8); `x`,
        `y` and `out` are in pixels of that scale. `x` must be a multiple of a unit's width at that scale. As OpenCV, it
        uses the exact inverse transform and smooth upsampling. Raises Complaint for errors of the library and, if
        `strict`, for warnings. Nothing after the last row of `out` is decoded, so faults there are not noticed.
        """
        handle = self._init(_INIT_DECOMPRESS)
        if not handle:
            raise MemoryError("libjpeg-turbo has no memory for a decompressor")
        try:
            self._check(handle, self._set(handle, _STOP_ON_WARNING, int(strict)))
            self._check(handle, self._header(handle, data, len(data)))
            found = self._get(handle, _JPEG_WIDTH), self._get(handle, _JPEG_HEIGHT)
            if found != size:
                raise InvalidImage(
                    f"the header says {size[0]} x {size[1]} pixels, the picture has {found[0]} x {found[1]}"
                )
            height, width, channels = out.shape
            self._check(handle, self._scale(handle, _Factor(1, scale)))
            if (width, height) != (-(-size[0] // scale), -(-size[1] // scale)):
                self._check(handle, self._crop(handle, _Region(x, y, width, height)))
            target, pitch = out.ctypes.data, width * channels
            failed = self._decompress(handle, data, len(data), target, pitch, _BGR)
            self._check(handle, failed and (strict or self._error_code(handle) != _WARNING))
        finally:
            self._destroy(handle)

    def _check(self, handle: int, failed: int) -> None:
        if failed:
            raise Complaint(ctypes.string_at(self._error(handle)).decode("ascii", "replace"))


@cache
def find_turbojpeg() -> TurboJpeg | None:
    """The system's library, or that of the package `turbojpeg`; None if neither can decode a part of a picture."""
    for path in (_SYSTEM_LIBRARY, *_bundled()):
        try:
            return TurboJpeg(path)
        except (OSError, AttributeError):  # missing, or too old
            continue
    return None


def _bundled() -> list[str]:
    spec = importlib.util.find_spec("turbojpeg")
    if spec is None or spec.origin is None:
        return []
    return sorted(str(path) for path in (Path(spec.origin).parent / "turbojpeg.libs").glob("libturbojpeg*.so*"))


def _function(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> Callable[..., int]:
    function = library[name]  # a function object of our own, so that its types concern nobody else
    function.restype = result
    function.argtypes = arguments
    return function
