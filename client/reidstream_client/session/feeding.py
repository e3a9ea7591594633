"""What the caller has handed over, on its way into one stream after the other: frames, and ends of tracks between them.

Trap: an end has its place between two frames, on every stream anew. So what goes next is decided without waiting in
between; a frame that is handed over meanwhile would be overtaken by the end behind it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from reidstream_client.errors import InvalidRequest, ReidError

from .async_session import AsyncSession
from .kept_frames import KeptFrames
from .track_book import TrackBook


class Feeding:
    """One event loop. `given`: frames that went to streams so far. `finishing`: no more will come."""

    def __init__(self, frames: KeptFrames, book: TrackBook) -> None:
        self._frames = frames
        self._book = book
        self._changed = asyncio.Event()
        self.given = 0
        self.finishing = False

    def wake(self) -> None:
        """There is more to give, or no more will come."""
        self._changed.set()

    async def into(self, session: AsyncSession[Any]) -> InvalidRequest | None:
        """Give a stream what it was not given yet, until it ends. Its reader learns why; returned is only what no other
        stream would take either.
        """
        try:
            while True:
                frame = self._frames.next_unsent()
                ends = self._book.next_ends(None if frame is None else frame.frame_id)
                if ends is not None:
                    ends.sent = True
                    await session.end_tracks([*ends.track_ids])
                elif frame is not None:
                    self.given += 1
                    await session.submit(frame)
                    self._frames.sent(frame)
                elif self.finishing:
                    await session.finish()
                    return None
                else:
                    self._changed.clear()
                    await self._changed.wait()
        except InvalidRequest as why:  # the window of this stream is smaller than that of the one before
            return why
        except ReidError:
            return None
