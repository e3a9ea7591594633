"""Pools of device memory and of pinned memory: frames reuse what earlier frames have left, within a bound in bytes.

Why: allocating either kind stops the device for a moment. Why the bound counts idle memory, too: the networks need the
rest of the device's memory, so frames must not take it. Admission counts frames by `size_class`, so a frame that was
admitted always fits.

Trap: a copy or a batch on its way may still read memory that was given back. Every block is given back with the events
that end its use, and the next user waits for them (nearly always they have passed long before).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from reidstream_engines.errors import OutOfDeviceMemory
from reidstream_engines.protocol import PoolUsage

from .driver import Context, DeviceBuffer, Event, PinnedBuffer

_SMALLEST = 4096
_CLASSES_PER_DOUBLING_BITS = 2


class Buffer(Protocol):
    """`DeviceBuffer` or `PinnedBuffer`."""

    @property
    def size(self) -> int: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


B = TypeVar("B", bound=Buffer)


class Awaited(Protocol):
    """`Event` or `Recording`."""

    def synchronize(self) -> None: ...  # noqa: D102


def size_class(size: int) -> int:
    """The size of a block for `size` bytes: at least 4 KiB, and one of the four sizes between two powers of two, so at
    most a quarter more.
    """
    if size <= _SMALLEST:
        return _SMALLEST
    step = 1 << ((size - 1).bit_length() - 1 - _CLASSES_PER_DOUBLING_BITS)
    return -(-size // step) * step


class Block(Generic[B]):
    """A buffer, and an event that its user may record."""

    __slots__ = ("buffer", "done", "pending")

    def __init__(self, buffer: B, done: Event) -> None:
        self.buffer = buffer
        self.done = done
        self.pending: tuple[Awaited, ...] = ()

    def wait(self) -> None:
        """Wait until nothing uses it any more."""
        for awaited in self.pending:
            awaited.synchronize()
        self.pending = ()

    def close(self) -> None:
        """Free it. Nothing may use it any more."""
        self.buffer.close()
        self.done.close()


class Pool(Generic[B]):
    """Blocks by size class. `make` allocates; `what` names the memory in errors. Any thread that uses the context."""

    def __init__(self, context: Context, make: Callable[[int], B], *, bound: int, what: str) -> None:
        self._context = context
        self._make = make
        self._bound = bound
        self._what = what
        self._lock = threading.Lock()
        self._idle: dict[int, deque[Block[B]]] = {}  # the longest unused class first
        self._idle_bytes = 0
        self._in_use = 0

    def usage(self) -> PoolUsage:
        """What is in use and idle now."""
        with self._lock:
            return PoolUsage(in_use=self._in_use, idle=self._idle_bytes, bound=self._bound)

    def take(self, size: int) -> Block[B]:
        """A block of `size_class(size)` bytes that nothing uses, with undefined contents.

        Raises OutOfDeviceMemory beyond the bound or if the device has no memory left, and EngineLost.
        """
        size = size_class(size)
        with self._lock:
            block, spare = self._find(size)
        try:
            for unused in spare:
                unused.wait()
                unused.close()
            if block is None:
                return self._allocate(size)
            block.wait()
        except BaseException:
            self._forget(size)
            raise
        return block

    def give(self, block: Block[B], after: Sequence[Awaited]) -> None:
        """Give a block back, once for each `take`. Nothing uses it once the events of `after` have passed."""
        block.pending = tuple(after)
        size = block.buffer.size
        with self._lock:
            same = self._idle.pop(size, None) or deque()
            same.append(block)
            self._idle[size] = same
            self._in_use -= size
            self._idle_bytes += size

    def drop(self, block: Block[B]) -> None:
        """Free a block instead of keeping it: after a call that failed halfway, it may still be in use."""
        self._forget(block.buffer.size)
        block.close()

    def close(self) -> None:
        """Free the idle blocks. Blocks that were not given back are not freed."""
        with self._lock:
            blocks = [block for same in self._idle.values() for block in same]
            self._idle.clear()
            self._idle_bytes = 0
        for block in blocks:
            block.close()

    def _find(self, size: int) -> tuple[Block[B] | None, list[Block[B]]]:
        """An idle block of this size; or else the idle blocks that must be freed to make room."""
        same = self._idle.get(size)
        if same:
            block = same.popleft()
            self._idle_bytes -= size
            self._in_use += size
            return block, []
        if self._in_use + size > self._bound:
            raise OutOfDeviceMemory(
                f"{size} bytes of {self._what} and the {self._in_use} in use are more than the bound of {self._bound}"
            )
        spare = []
        while self._in_use + self._idle_bytes + size > self._bound:
            spare.append(self._oldest())
        self._in_use += size
        return None, spare

    def _oldest(self) -> Block[B]:
        size = next(size for size, same in self._idle.items() if same)
        self._idle_bytes -= size
        return self._idle[size].popleft()

    def _allocate(self, size: int) -> Block[B]:
        try:
            buffer = self._make(size)
        except OutOfDeviceMemory:
            self.close()  # other sizes may be what is in the way
            buffer = self._make(size)
        try:
            return Block(buffer, Event(self._context))
        except BaseException:
            buffer.close()
            raise

    def _forget(self, size: int) -> None:
        with self._lock:
            self._in_use -= size


def device_pool(context: Context, bound: int) -> Pool[DeviceBuffer]:
    """A pool of device memory."""
    return Pool(context, lambda size: DeviceBuffer(context, size), bound=bound, what="device memory")


def pinned_pool(context: Context, bound: int) -> Pool[PinnedBuffer]:
    """A pool of this machine's pinned memory."""
    return Pool(context, lambda size: PinnedBuffer(context, size), bound=bound, what="pinned memory")
