"""Every session that is not over, and whether new ones may open.

Why together: a server that leaves takes no new session and waits until the last one is over. Doors, guards and the
drain all ask here, so "leaving" is known in one place. Trap: a session that opened after the drain began would never be
asked to leave; so `Runtime.open_session` checks first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from reidstream_server.core.terms import SessionKey
from reidstream_server.errors import GoingAway

from .session import Session


class OpenSessions:
    """Event loop only. Iterates over the sessions, the oldest first; sessions may end meanwhile."""

    def __init__(self) -> None:
        self._by_key: dict[SessionKey, Session] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.leaving = False

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_key.values()))

    def refuse_when_leaving(self) -> None:
        """Raises GoingAway while the server stops."""
        if self.leaving:
            raise GoingAway("the server is stopping; send the frames to another server")

    def add(self, session: Session) -> None:
        """A session has opened."""
        self._by_key[session.key] = session
        self._idle.clear()

    def get(self, key: SessionKey) -> Session | None:
        """The session, if it is not over."""
        return self._by_key.get(key)

    def remove(self, key: SessionKey) -> bool:
        """A session is over; False if it was over before."""
        found = self._by_key.pop(key, None) is not None
        if not self._by_key:
            self._idle.set()
        return found

    async def all_over(self, timeout_s: float) -> bool:
        """Wait until no session is open; False if some still are after `timeout_s`."""
        if not self._idle.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
        return self._idle.is_set()
