"""Frames as they arrive at a fake server, and waiting for them, in a thread or in an event loop.

Why: a test that sleeps is slow or wrong. `send` returns when the client has taken the frame, a moment before the server
has it. A test that looks at the server waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

from reidstream_client.connection.within import within

from .records import ReceivedFrame

SILENCE_S: Final = 30.0
"""A test that waits longer for its frames has a mistake."""


class Arrivals:
    """Any thread."""

    def __init__(self) -> None:
        self.frames: list[ReceivedFrame] = []
        self._changed = threading.Condition()
        self._loops: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def add(self, frame: ReceivedFrame) -> None:
        """A frame has come."""
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()
            for event, loop in self._loops.items():
                with contextlib.suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(event.set)

    def wait(self, count: int) -> None:
        """Block until `count` frames have come in all. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.frames) >= count, SILENCE_S):
                raise self._too_few(count)

    async def async_wait(self, count: int) -> None:
        """The same in an event loop."""
        event = asyncio.Event()
        with self._changed:
            self._loops[event] = asyncio.get_running_loop()
        try:
            while len(self.frames) < count:
                await within(SILENCE_S, event.wait())
                event.clear()
        except asyncio.TimeoutError:
            raise self._too_few(count) from None
        finally:
            with self._changed:
                del self._loops[event]

    def _too_few(self, count: int) -> TimeoutError:
        return TimeoutError(f"{len(self.frames)} frames came within {SILENCE_S:.0f} s, and {count} were expected")
