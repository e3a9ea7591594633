"""Deadlines, earliest first.

Why one heap: whoever drives the core sleeps until `next_ns`, and nobody polls. Trap: most timers are cancelled before
they are due, and those must not pile up. So the heap is rebuilt when more than half of it is cancelled.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum

_REBUILD_ABOVE = 64


class TimerKind(Enum):
    """What is due."""

    FRAME_BUDGET = "frame_budget"
    LINGER = "linger"
    BATCH_TIMEOUT = "batch_timeout"
    STALL = "stall"
    DRAIN = "drain"
    STAGING = "staging"
    PAUSE = "pause"


@dataclass(slots=True, eq=False)
class Timer:
    """`key` is the frame, model, batch, session or source that it is about."""

    at_ns: int
    kind: TimerKind
    key: int
    live: bool = True


class Timers:
    """A heap of timers. Not thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []  # the second counts: two of one time are never compared further
        self._made = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def add(self, at_ns: int, kind: TimerKind, key: int) -> Timer:
        """A timer that is due at `at_ns`. Timers of the same time are due in the order in which they were added."""
        self._made += 1
        timer = Timer(at_ns, kind, key)
        heapq.heappush(self._heap, (at_ns, self._made, timer))
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Take the timer back. Harmless for None, and for one that was due already."""
        if timer is None or not timer.live:
            return
        timer.live = False
        self._dead += 1
        if self._dead > _REBUILD_ABOVE and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapq.heapify(self._heap)
            self._dead = 0

    def next_ns(self) -> int | None:
        """When the earliest is due."""
        self._drop_dead()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int) -> Timer | None:
        """The earliest timer that is due at `now`."""
        self._drop_dead()
        if not self._heap or self._heap[0][0] > now:
            return None
        timer = heapq.heappop(self._heap)[2]
        timer.live = False
        return timer

    def _drop_dead(self) -> None:
        while self._heap and not self._heap[0][2].live:
            heapq.heappop(self._heap)
            self._dead -= 1
