"""How the event loop is woken: by a thread that has finished, by the next deadline, or a little later.

Why in one place: nobody awaits these events. If one failed in silence, somebody would wait for ever; so `_call` reports
every failure. Traps: to wake the loop costs a thread more than a small picture's staging: it writes to a socket, which
the loop reads. So what ends while a wake-up is on its way comes with it. And most deadlines move on before they come. A
timer that is armed for an earlier time stays: it wakes for nothing once, which costs less than a cancellation with
every event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class Wakeups:
    """`failed` is told, on the event loop, of an event that raised. `due` is called at the armed time."""

    def __init__(self, failed: Callable[[Exception], None], due: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._failed = failed
        self._due = due
        self._ended: deque[Callable[[], None]] = deque()  # in threads, and the loop has not heard of it
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns: int | None = None

    def from_thread(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Any thread. If the loop is closed, nobody is left to tell."""
        self._ended.append(partial(event, *arguments))
        if not self._woken:  # two threads may find it so, and wake the loop twice
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hear)

    def soon(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Event loop only: after the event that is carried out now."""
        self._loop.call_soon(self._call, event, *arguments)

    def arm(self, due_ns: int | None) -> None:
        """Event loop only: call `due` at this time of the monotonic clock at the latest; None: there is no need."""
        if due_ns is None or (self._timer_ns is not None and self._timer_ns <= due_ns):
            return
        self.disarm()
        self._timer_ns = due_ns
        self._timer = self._loop.call_at(due_ns / 1e9, self._call, self._on_timer)

    def disarm(self) -> None:
        """No deadline is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_ns = None

    def _hear(self) -> None:
        self._woken = False  # before the look: what comes after it wakes the loop again
        while self._ended:
            self._call(self._ended.popleft())

    def _on_timer(self) -> None:
        self._timer = self._timer_ns = None
        self._due()

    def _call(self, event: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        try:
            event(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the state behind it is not to be trusted any more
            self._failed(error)
