"""A snapshot of what only the event loop may look at, for other threads.

Why: metrics are scraped, and memory is watched, in threads of their own. Trap: the loop may be busy for long, or
closed. Whoever asks gets the last snapshot then, and is not kept waiting.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class FromLoop(Generic[T]):
    """Call it in any thread but the loop's own. Create it on the loop, since it takes its first snapshot there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, snapshot: Callable[[], T], timeout_s: float) -> None:
        self._loop = loop
        self._snapshot = snapshot
        self._timeout_s = timeout_s
        self._last = snapshot()

    def __call__(self) -> T:
        """A fresh snapshot; the last one if the loop does not answer in time."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def take() -> None:
            if done.set_running_or_notify_cancel():
                done.set_result(self._snapshot())

        try:
            self._loop.call_soon_threadsafe(take)
            self._last = done.result(self._timeout_s)
        except (RuntimeError, TimeoutError):  # the event loop is closed or busy
            done.cancel()
        return self._last
