"""The emulated driver's streams, as a library in the same process uses them: see `fake_tensorrt.Driver`.

Trap: work is done by a stream's own thread, which needs the interpreter: whoever waited for it without letting go of
the interpreter would wait for ever, and so it is seen that nobody does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class EmulatedStreams:
    """Callbacks are kept for good, since graphs hold them."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._kept: list[object] = []

    def compute(
        self, stream: int, taken: tuple[int, int], given: tuple[int, int], work: Callable[[Bytes, Bytes], None]
    ) -> None:
        """Have `work` done in the stream's turn."""

        def call(source: int, target: int) -> None:
            work(_bytes(source, taken[1]), _bytes(target, given[1]))

        callback = _Callback(call)
        self._kept.append(callback)
        ranges = [ctypes.c_uint64(number) for number in (*taken, *given)]
        status = self._library.emulated_network(ctypes.c_void_p(stream), *ranges, callback)
        if status:
            raise RuntimeError(f"the emulated driver refuses a network's work: {status}")

    def capturing(self, stream: int, *, breaks: bool = False) -> bool:
        """Whether it is being captured."""
        return bool(self._library.emulated_capture(ctypes.c_void_p(stream), int(breaks)))


def _bytes(address: int, size: int) -> Bytes:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
