"""When a session is asked to leave though nobody stops the server: it is old, or it has long been idle.

Why here and not in the core: both are about streams. A session that is a single call has neither. Trap: looking costs
nothing per frame. The time is looked at when a session could be idle at the earliest, and then again that much later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from reidstream_server.core.terms import DrainReason
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.session import Session

from .options import CallLimits


class Lifetime:
    """A `with` block is an open session. Event loop only. `clock`: monotonic nanoseconds."""

    def __init__(
        self, session: Session, runtime: Runtime, limits: CallLimits, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._session = session
        self._runtime = runtime
        self._limits = limits
        self._clock = clock
        self._timers: dict[DrainReason, asyncio.TimerHandle] = {}

    def __enter__(self) -> Self:
        """Begin to watch.

        Sessions become old later than their connections, so that they come back on another. Not all at once: clients
        that came together would go together.
        """
        limits, reason = self._limits, DrainReason.CONNECTION_AGE
        if limits.max_age_s:
            age_s = limits.max_age_s * random.uniform(1.1, 1.2)  # noqa: S311 - to spread, not to hide
            self._timers[reason] = asyncio.get_running_loop().call_later(age_s, self._leave, reason)
        if limits.idle_timeout_s:
            self.look()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def look(self) -> None:
        """Ask the session to leave if it has been idle for too long; else look again when it could be."""
        waits = self._runtime.session_figures(self._session).window_frames
        idle_s = 0.0 if waits else (self._clock() - self._session.counters.quiet_since_ns) / 1e9
        left_s = self._limits.idle_timeout_s - idle_s
        if left_s <= 0:
            self._leave(DrainReason.IDLE)
        else:
            self._timers[DrainReason.IDLE] = asyncio.get_running_loop().call_later(left_s, self.look)

    def _leave(self, reason: DrainReason) -> None:
        self._runtime.drain_session(self._session, reason, self._limits.drain_timeout_s)
