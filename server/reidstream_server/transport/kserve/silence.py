"""When a stream of requests has said nothing for too long.

The times and the words are those of a camera's stream: its first message has a while, and a stream in which nothing is
in progress, and nothing comes for long, is ended. Trap: clients of this protocol hear nothing of a stream that just
ends, and go on waiting. So it ends with a refusal that says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from reidstream_server.errors import CallRefused, InvalidCall, TooSlow


class Silence:
    """Of one stream. `open_timeout_s`: for its first request. `idle_timeout_s`: for the next one, when all before it
    are answered; 0: for ever. `clock`: seconds. Event loop only.
    """

    def __init__(
        self, *, open_timeout_s: float, idle_timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_timeout_s = open_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock
        self._since_s = clock()
        self._begun = False
        self._in_progress = 0

    def came(self) -> None:
        """A request."""
        self._begun = True
        self._in_progress += 1

    def answered(self) -> None:
        """A request's answer was taken."""
        self._in_progress -= 1
        self._since_s = self._clock()

    @property
    def left_s(self) -> float | None:
        """How long it may be silent from now on; at most 0 if that is over. None: for ever."""
        if not self._begun:
            return self._open_timeout_s - (self._clock() - self._since_s)
        if not self._idle_timeout_s:
            return None
        silent_s = 0.0 if self._in_progress else self._clock() - self._since_s
        return self._idle_timeout_s - silent_s

    async def wait_for(self, coming: asyncio.Future[None]) -> None:
        """Until the next message is there. Raises CallRefused if it takes too long."""
        while not coming.done():
            left_s = self.left_s
            if left_s is not None and left_s <= 0:
                raise self._refusal()
            await asyncio.wait({coming}, timeout=left_s)

    def _refusal(self) -> CallRefused:
        if not self._begun:
            return InvalidCall(f"no request came within {self._open_timeout_s:g} s; send the first one at once")
        return TooSlow(
            f"no request came for {self._idle_timeout_s:g} s (idle_timeout_s); open the stream again when there is one"
        )
