"""No more threads compute at a time than there are cores, although more work is given out.

Why: the core gives out one piece of work more than there are cores, so that a thread that ends one is followed at once,
and not when the event loop has seen it. The thread of that piece waits here. Without that, three threads would share
two cores, and all three would be late.

Trap: a call that never returns keeps its permit. When its engine is given up, somebody must say so (`forget`).
"""

from __future__ import annotations

from queue import SimpleQueue
from types import TracebackType
from typing import Self


class CorePermits:
    """`with permits:` waits for a core, and holds it meanwhile. Any thread."""

    def __init__(self, cores: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        self.forget(cores)

    def forget(self, calls: int) -> None:
        """So many calls that hold a core may never return: others go on in their place."""
        for _ in range(calls):
            self._free.put(None)

    def __enter__(self) -> Self:
        self._free.get()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._free.put(None)
