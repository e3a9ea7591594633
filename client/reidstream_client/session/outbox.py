"""Frames on their way into a call, and what is said between them.

Why a queue and a task of its own: cancelling a write of gRPC cancels the whole call, so no caller may wait in one.
Traps: a frame that waits here must own its memory and must not be encoded yet, since its age is a part of the message.
And a frame that is being written cannot be taken back, even if the server reads nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from reidstream_client.connection.protocols import Call
from reidstream_client.frames.framing import PreparedFrame


class Outbox:
    """One event loop. `done`: whether what is queued is the last; the call is then half-closed."""

    def __init__(self, call: Call, *, done: Callable[[], bool]) -> None:
        self._call = call
        self._done = done
        self._items: dict[int | object, bytes | PreparedFrame] = {}  # in order; frames by their ids
        self._writing = self._ended = False
        self.half_closed = False
        self._changed = asyncio.Event()

    def post(self, frame: PreparedFrame, now_s: float) -> None:
        """Queue a frame; encoded at once if it can go at once."""
        busy = self._writing or self._items
        self._items[frame.frame_id] = frame.owned() if busy else frame.stream_message(now_s)
        self._changed.set()

    def say(self, message: bytes) -> None:
        """Queue what is no frame, behind the frames that are here."""
        self._items[object()] = message
        self._changed.set()

    def take_back(self, frame_id: int) -> bool:
        """Forget a frame that is still here. False: it was written, or is being written."""
        return self._items.pop(frame_id, None) is not None

    def wake(self) -> None:
        """`done` may have become true."""
        self._changed.set()

    def clear(self) -> None:
        """Forget what is queued."""
        self._items.clear()
        self._changed.set()

    def end(self) -> None:
        """Forget what is queued, and let `run` end."""
        self._ended = True
        self.clear()

    async def run(self) -> None:
        """Write until the call has ended or all was written."""
        while not self._ended:
            self._changed.clear()  # before anything is looked at: it may change while a message is being written
            while self._items:
                item = self._items.pop(next(iter(self._items)))
                self._writing = True
                message = item if isinstance(item, bytes) else item.stream_message(time.monotonic())
                del item  # it is large, and the server may be long in reading; the same below
                if not await self._call.write(message):
                    return  # the call has ended; the reader learns how
                self._writing = False
                del message
            if self._done():
                self.half_closed = True
                await self._call.done_writing()
                return
            await self._changed.wait()
