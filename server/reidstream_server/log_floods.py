"""Cuts a flood of one event: so many lines of it in ten seconds are written, the rest is counted, and a line says so.

Why: what a client does thousands of times would fill the disk and hide what others did. Why so many lines: when all
cameras of a server come back at once, each has its own.

Traps: a flood may be the last thing that happens, so a timer tells at the end of its window, and not the next line. And
whoever logs may be in a signal handler that came while the same thread logs, so the lock is re-entrant.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

MOST_LINES = 1000
WINDOW_S = 10.0


@dataclass(slots=True)
class _Window:
    until_s: float
    lines: int = 0
    left_out: int = 0


class FloodGate:
    """Thread-safe; never waits. `tell(event, lines)`: so many lines were left out. `clock`: monotonic seconds.

    Events are a closed set, and so is what is kept.
    """

    def __init__(
        self,
        tell: Callable[[str, int], None],
        *,
        most_lines: int = MOST_LINES,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._most_lines = most_lines
        self._window_s = window_s
        self._clock = clock
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Nothing counted; so it is in a forked process, whose parent has the timer, and may have had the lock."""
        self._windows: dict[str, _Window] = {}
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    def admits(self, event: str) -> bool:
        """Whether a line of this event is to be written. If not, it is counted."""
        with self._lock:
            now_s = self._clock()
            window = self._windows.get(event)
            if window is None or (now_s >= window.until_s and not window.left_out):
                window = self._windows[event] = _Window(now_s + self._window_s)
            if now_s < window.until_s and window.lines < self._most_lines:
                window.lines += 1
                return True
            window.left_out += 1
            self._set_timer(now_s)
            return False

    def look(self) -> None:
        """Tell of the windows that are over."""
        self._tell_of(self._clock())

    def close(self) -> None:
        """Tell of all windows now."""
        self._tell_of(None)

    def _tell_of(self, now_s: float | None) -> None:
        with self._lock:
            over = {
                event: window.left_out
                for event, window in self._windows.items()
                if window.left_out and (now_s is None or now_s >= window.until_s)
            }
            for event in over:
                del self._windows[event]
        for event, lines in over.items():
            self._tell(event, lines)

    def _set_timer(self, now_s: float) -> None:
        due_s = min((window.until_s for window in self._windows.values() if window.left_out), default=None)
        if self._timer is not None or due_s is None:
            return
        timer = threading.Timer(max(0.0, due_s - now_s), self._due)
        timer.daemon = True
        with suppress(RuntimeError):  # no more threads, or Python ends: then `close` tells
            timer.start()
            self._timer = timer

    def _due(self) -> None:
        self.look()
        with self._lock:
            self._timer = None
            self._set_timer(self._clock())
