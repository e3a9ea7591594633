"""One timer for everything that a session waits for.

Why not a timer per frame: a camera sends thousands of frames, and nearly all are answered in time. So the timer is set
for the earliest moment only, and not put off when that frame is answered: it rings, its owner looks, and asks again.
Trap: it may ring a little early, or for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Alarm:
    """Calls `ring` at the earliest of the times that were asked for, once. One event loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = 0.0

    def by(self, at_s: float | None) -> None:
        """Ring by this time of `time.monotonic()` at the latest; None: there is nothing to wait for."""
        if at_s is None or (self._timer is not None and self._at_s <= at_s):
            return
        self.stop()
        self._at_s = at_s
        self._timer = self._loop.call_later(at_s - time.monotonic(), self._rings)

    def stop(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rings(self) -> None:
        self._timer = None
        self._ring()
