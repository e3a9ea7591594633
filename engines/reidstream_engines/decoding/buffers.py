"""Memory that decoded frames reuse.

Why: freed memory of a frame's size goes back to the system, and the page faults of new memory cost about as much as
decoding into it. Why size classes: how much is decoded of a frame depends on its boxes, so every frame needs another
size. Trap: a buffer that was given back may be handed out again at once, so whoever gave it back must not use it any
more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

POOLED_FROM_BYTES = 128 * 1024
"""Smaller blocks come from malloc's own arenas, which reuse their pages."""

_CLASSES_PER_DOUBLING_BITS = 2


def buffer_size(size: int) -> int:
    """The size of the buffer for `size` bytes: the same if it is small, or else the next of the four sizes between two
    powers of two; at most a quarter more.
    """
    if size < POOLED_FROM_BYTES:
        return size
    step = 1 << ((size - 1).bit_length() - 1 - _CLASSES_PER_DOUBLING_BITS)
    return -(-size // step) * step


class BufferPool:
    """Keeps buffers that were given back, at most `max_idle_bytes` of them; the size longest unused is freed first.

    Any thread.
    """

    def __init__(self, max_idle_bytes: int) -> None:
        self._max_idle_bytes = max_idle_bytes
        self._idle_bytes = 0
        self._idle: OrderedDict[int, list[Bytes]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def idle_bytes(self) -> int:
        """Bytes kept for reuse now."""
        return self._idle_bytes

    def take(self, size: int) -> Bytes:
        """A buffer uint8 (buffer_size(size),) with undefined contents. The caller may give it back, or keep it."""
        size = buffer_size(size)
        with self._lock:
            same = self._idle.get(size)
            if same:
                buffer = same.pop()
                if not same:
                    del self._idle[size]
                self._idle_bytes -= size
                return buffer
        return np.empty(size, np.uint8)

    def give(self, buffer: Bytes) -> None:
        """Return a buffer that `take` handed out, once."""
        size = buffer.nbytes
        if size < POOLED_FROM_BYTES:
            return
        with self._lock:
            self._idle.setdefault(size, []).append(buffer)
            self._idle.move_to_end(size)
            self._idle_bytes += size
            while self._idle_bytes > self._max_idle_bytes:
                oldest, same = next(iter(self._idle.items()))
                same.pop()
                if not same:
                    del self._idle[oldest]
                self._idle_bytes -= oldest
