"""libjpeg-turbo's own shared library, called for what no Python package offers: decoding a part of a JPEG.

Why ctypes: a call lets other threads run meanwhile, takes a microsecond, and needs no compiler here. The library is
the system's (3.0 or newer; many systems still have 2.1, which cannot do it), or that in the wheel of the package
`turbojpeg`, whose Python functions cannot do it either and are not imported. Without either, pictures are decoded
whole.

Traps: a decompressor keeps tables, and after a damaged header more than that, from one picture to the next: reused, it
would decode a camera's frame by what another camera sent. So each picture has one of its own, for 3 microseconds.
And the wheel's library is 2.1.92, between the second beta of 3.0 and 3.0 itself. Only pictures with a `JpegLayout`
come here, because none of the faults known in it can be reached by them (docs/architecture.md, "Hostile JPEGs").
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

Bytes = npt.NDArray[np.uint8]

TURBOJPEG_INSTALL = "pip install 'reidstream-engines[region]'"
"""Brings the library where the system has none."""

_SYSTEM_LIBRARY = "libturbojpeg.so.0"

# turbojpeg.h: members of enum TJINIT, TJPARAM and TJPF.
_INIT_DECOMPRESS = 1
_STOP_ON_WARNING, _JPEG_WIDTH, _JPEG_HEIGHT = 0, 5, 6
_BGR = 1


class _Region(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


class _Factor(ctypes.Structure):
    _fields_ = (("num", ctypes.c_int), ("denom", ctypes.c_int))


class TurboJpeg:
    """The library at `path`. Any number of threads. Raises OSError if it is none, AttributeError if it is too old."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        handle, data, size, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
        self.path = path
        self._init = _function(library, "tj3Init", handle, integer)
        self._error = _function(library, "tj3GetErrorStr", handle, handle)
        self._set = _function(library, "tj3Set", integer, handle, integer, integer)
        self._get = _function(library, "tj3Get", integer, handle, integer)
        self._header = _function(library, "tj3DecompressHeader", integer, handle, data, size)
        self._scale = _function(library, "tj3SetScalingFactor", integer, handle, _Factor)
        self._crop = _function(library, "tj3SetCroppingRegion", integer, handle, _Region)
        self._decompress = _function(
            library, "tj3Decompress8", integer, handle, data, size, ctypes.c_void_p, integer, integer
        )
        self._destroy = _function(library, "tj3Destroy", None, handle)

    def decode(self, data: bytes, out: Bytes, *, x: int, y: int, size: tuple[int, int], scale: int) -> None:
        """Fill `out`, uint8 (h, w, 3) and contiguous, with the BGR pixels of the picture from (x, y) on.

        `size`: width and height of the whole picture, by its header. It is decoded at 1/`scale` (1, 2, 4 or 8), and
        `x`, `y` and `out` are pixels of that. `x` has to be a multiple of a unit's width at that scale. The exact
        inverse transform and smooth upsampling, as OpenCV has them. Raises InvalidImage for whatever the library
        complains of, its warnings included; what lies below the last row wanted is not looked at.
        """
        handle = self._init(_INIT_DECOMPRESS)
        if not handle:
            raise MemoryError("libjpeg-turbo has no memory for a decompressor")
        try:
            self._check(handle, self._set(handle, _STOP_ON_WARNING, 1))
            self._check(handle, self._header(handle, data, len(data)))
            found = self._get(handle, _JPEG_WIDTH), self._get(handle, _JPEG_HEIGHT)
            if found != size:
                raise InvalidImage(
                    f"the header says {size[0]} x {size[1]} pixels, the picture has {found[0]} x {found[1]}"
                )
            height, width, channels = out.shape
            self._check(handle, self._scale(handle, _Factor(1, scale)))
            self._check(handle, self._crop(handle, _Region(x, y, width, height)))
            target, pitch = out.ctypes.data, width * channels
            self._check(handle, self._decompress(handle, data, len(data), target, pitch, _BGR))
        finally:
            self._destroy(handle)

    def _check(self, handle: int, failed: int) -> None:
        if failed:
            message = ctypes.string_at(self._error(handle)).decode("ascii", "replace")
            raise InvalidImage(f"JPEG cannot be decoded to its end: {message}")


@cache
def find_turbojpeg() -> TurboJpeg | None:
    """The system's library, or that of the package `turbojpeg`; None where neither can decode a part of a picture."""
    for path in (_SYSTEM_LIBRARY, *_bundled()):
        try:
            return TurboJpeg(path)
        except (OSError, AttributeError):  # not there; or there, and too old
            continue
    return None


def _bundled() -> list[str]:
    spec = importlib.util.find_spec("turbojpeg")
    if spec is None or spec.origin is None:
        return []
    return sorted(str(path) for path in (Path(spec.origin).parent / "turbojpeg.libs").glob("libturbojpeg*.so*"))


def _function(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> Callable[..., int]:
    function = library[name]  # a function object of our own: its types are nobody else's
    function.restype = result
    function.argtypes = arguments
    return function
