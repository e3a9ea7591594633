"""The time that a connection has left: one timer for each, whatever it waits for.

Why not a timer for each wait: a request that comes and is answered in a millisecond would set and cancel three of them.
Most times move on before they come. So a timer that is set for an earlier time stays, and looks again when it is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """`passed` is called when the time is over. Event loop only."""

    __slots__ = ("_due_s", "_loop", "_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], object]) -> None:
        self._loop = loop
        self._passed = passed
        self._due_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """So much time is left from now on, whatever was left before."""
        due = self._due_s = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)
        elif due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._look)

    def off(self) -> None:
        """There is time without end."""
        self._due_s = None

    def close(self) -> None:
        """It is over: nothing is called any more, and nothing is kept, whoever is to be called least of all: it knows
        its deadline, and such a ring stays until the garbage collector comes.
        """
        self._due_s = None
        self._passed = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._timer is None:
            return
        looked_for, self._timer = self._timer.when(), None
        if self._due_s is None:
            return
        if self._due_s > looked_for:
            self._timer = self._loop.call_at(self._due_s, self._look)
        else:
            self._due_s = None
            self._passed()


def _nothing() -> None:
    """For a deadline that is over."""
