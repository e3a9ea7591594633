"""Frames on their way into a call.

Why a queue and a task of its own: cancelling a write of gRPC cancels the whole call, so no caller may wait in one.
Trap: a frame that waits here must own its memory and must not be encoded yet, since its age is a part of the message.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from reidstream_client.connection.protocols import Call
from reidstream_client.frames.framing import PreparedFrame


class Outbox:
    """One event loop. `done`: whether the queued frames are the last ones; the call is then half-closed."""

    def __init__(self, call: Call, *, done: Callable[[], bool]) -> None:
        self._call = call
        self._done = done
        self._frames: deque[bytes | PreparedFrame] = deque()
        self._writing = self._ended = False
        self._changed = asyncio.Event()

    def post(self, frame: PreparedFrame, now_s: float) -> None:
        """Queue a frame; encoded at once if it can go at once."""
        busy = self._writing or self._frames
        self._frames.append(frame.owned() if busy else frame.stream_message(now_s))
        self._changed.set()

    def wake(self) -> None:
        """`done` may have become true."""
        self._changed.set()

    def clear(self) -> None:
        """Forget the queued frames."""
        self._frames.clear()
        self._changed.set()

    def end(self) -> None:
        """Forget the queued frames, and let `run` end."""
        self._ended = True
        self.clear()

    async def run(self) -> None:
        """Write until the call has ended or all was written."""
        while not self._ended:
            while self._frames:
                item = self._frames.popleft()
                self._writing = True
                message = item if isinstance(item, bytes) else item.stream_message(time.monotonic())
                if not await self._call.write(message):
                    return  # the call has ended; the reader learns how
                self._writing = False
            if self._done():
                await self._call.done_writing()
                return
            self._changed.clear()
            await self._changed.wait()
