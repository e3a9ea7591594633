"""A clock that a test turns on, for whatever in the client waits.

Why not short times: on a slow machine they pass before the test has come to what should happen first. The event loop
and the client read the same clock, so turning it on makes due whatever waits, and nothing sleeps.
"""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

import pytest

T = TypeVar("T")


class Clock:
    """`time.monotonic()`, which a test can turn on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = time.monotonic
        self.ahead_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: real() + self.ahead_s)

    async def turn_on(self, seconds: float) -> None:
        """So much later, everything that was due has happened; but not before what was under way."""
        await settle()
        self.ahead_s += seconds
        await settle()

    async def until_done(self, task: asyncio.Task[T], step_s: float) -> T:
        """Let time pass, step by step, until the task is done."""
        while not task.done():
            await self.turn_on(step_s)
        return await task


async def settle() -> None:
    """Let every task go on as far as it can: nothing here waits for another thread or process."""
    for _ in range(50):
        await asyncio.sleep(0)
