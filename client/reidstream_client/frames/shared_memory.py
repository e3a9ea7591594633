"""Memory that this client shares with a server on the same machine: raw pixels go there instead of through gRPC.

It is a memfd. That has no name, so nothing is left behind when a process dies, and it costs nothing until pixels are
written. The seals promise the server that it can neither shrink nor get holes. The first picture decides the size of
the slots that it is cut into. A picture without a free slot is sent.

Trap: a slot belongs to its frame until the frame is answered. The server reads it in place, so anything written into it
earlier may end up in the vectors.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import secrets
import sys
import weakref
from typing import Any, Final

import numpy as np

from reidstream_client.checks import between
from reidstream_proto.v1 import session_pb2
from reidstream_proto.v1.contract import SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_NONCE_BYTES, SEGMENT_SEALS

from .framing import PreparedFrame
from .images import MOST_PIXELS, PixelArray

SEGMENT_BYTES: Final = 512 << 20
"""Of address space. Enough for a window of 64 frames of 1920 x 1080 pixels, or of 16 frames four times as large."""

_SPARE_SLOTS: Final = 2  # for a frame that waits for room in the window, and for the one that takes its place
_CHANNELS: Final = 3


class SharedMemory:
    """The shared memory of one session. `offer` goes to the server; nothing is written before `agreed`.

    Raises OSError on a system without such memory. One thread; arrays from `lend` may be given up in any thread.
    """

    def __init__(self) -> None:
        nonce = secrets.token_bytes(SEGMENT_NONCE_BYTES)
        self._map: mmap.mmap | None
        self._map, self._file = _sealed_segment(nonce)
        self.offer = session_pb2.SharedMemory(pid=os.getpid(), fd=self._file, size_bytes=SEGMENT_BYTES, nonce=nonce)
        self._size = self._window = 0
        self._slot_bytes = self._slots = 0
        self._free: list[int] = []  # offsets; the last one was used last, and is in the cache
        self._lent: dict[int, weakref.finalize[Any, Any]] = {}

    def agreed(self, size_bytes: int, window_frames: int) -> None:
        """The server has opened the memory and reads `size_bytes` of it."""
        self._size, self._window = size_bytes, window_frames
        self._close_file()

    def place(self, frame: PreparedFrame) -> tuple[PreparedFrame, int | None]:
        """Put the frame's pixels into a slot. Returns the frame by handle, and the slot to `give_back`.

        A picture that is not raw, or fits into no free slot, comes back unchanged and without a slot.
        """
        length = len(frame.data)
        if frame.layout is None or not length:
            return frame, None
        slot = self._slot_of_lent(frame.data)
        if slot is None:
            slot = self._take(length)
            if slot is None or self._map is None:
                return frame, None
            memoryview(self._map)[slot : slot + length] = frame.data
        return frame.by_handle(slot), slot

    def give_back(self, slot: int | None) -> None:
        """The frame in that slot was answered, or was never sent."""
        if slot is not None:
            self._free.append(slot)

    def lend(self, height: int, width: int) -> PixelArray | None:
        """A slot as an array (height, width, 3) to write into; None if there is no free slot.

        `place` finds pixels that are there already. An array that is garbage-collected gives its slot back.
        """
        slot = self._take(height * width * _CHANNELS)
        if slot is None or self._map is None:
            return None
        memory = (ctypes.c_ubyte * (height * width * _CHANNELS)).from_buffer(self._map, slot)
        given_up = weakref.finalize(memory, self._given_up, slot)
        given_up.atexit = False
        self._lent[slot] = given_up
        return np.frombuffer(memoryview(memory), np.uint8).reshape(height, width, _CHANNELS)

    def close(self) -> None:
        """Let go of the memory; arrays that were lent keep it mapped while they live. Closing twice is harmless."""
        self._close_file()
        self._map = None
        self._free.clear()
        self._size = 0

    def _take(self, length: int) -> int | None:
        if length > self._slot_bytes and len(self._free) == self._slots:
            self._cut(length)
        return self._free.pop() if self._free and length <= self._slot_bytes else None

    def _cut(self, length: int) -> None:
        """Make slots of at least `length` bytes, behind the header's page. No slot may be in use."""
        slot_bytes = -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
        slots = min(self._window + _SPARE_SLOTS, max(0, self._size - mmap.PAGESIZE) // slot_bytes)
        if slots:
            self._slot_bytes, self._slots = slot_bytes, slots
            self._free = [mmap.PAGESIZE + index * slot_bytes for index in reversed(range(slots))]

    def _slot_of_lent(self, data: bytes | memoryview) -> int | None:
        """The lent slot that these pixels start, if there is one; it belongs to the frame from now on."""
        if not self._lent or self._map is None or isinstance(data, bytes):
            return None
        slot = _address(data) - _address(self._map)
        given_up = self._lent.get(slot)
        if given_up is None or len(data) > self._slot_bytes or given_up.detach() is None:
            return None
        del self._lent[slot]
        return slot

    def _given_up(self, slot: int) -> None:
        self._lent.pop(slot, None)
        if self._map is not None:
            self._free.append(slot)

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def frame_buffer(shared: SharedMemory | None, height: int, width: int) -> PixelArray:
    """An array (height, width, 3) uint8, in shared memory if there is room. Raises InvalidRequest for no size."""
    height, width = between("height", height, 1, MOST_PIXELS), between("width", width, 1, MOST_PIXELS)
    lent = None if shared is None else shared.lend(height, width)
    return np.empty((height, width, _CHANNELS), np.uint8) if lent is None else lent


def _sealed_segment(nonce: bytes) -> tuple[mmap.mmap, int]:
    """A new segment, mapped to be written, and its file. Raises OSError."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "shared memory needs Linux")
    import fcntl  # noqa: PLC0415 - not on every system

    file = os.memfd_create("reidstream", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, SEGMENT_BYTES)
        memory = mmap.mmap(file, SEGMENT_BYTES)
        memory[:SEGMENT_HEADER_BYTES] = SEGMENT_MAGIC + nonce
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, sum(SEGMENT_SEALS.values()))
    except BaseException:
        os.close(file)
        raise
    return memory, file


def _address(memory: memoryview | mmap.mmap) -> int:
    address: int = np.frombuffer(memoryview(memory), np.uint8).__array_interface__["data"][0]
    return address
