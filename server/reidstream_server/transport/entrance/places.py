"""The places of calls that are in progress: one client gets at most half of them.

Trap: a place is held until the call's task is over, whatever becomes of the call. So a task has one call.
"""

from __future__ import annotations

import asyncio

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import TooManyCalls


class CallPlaces:
    """Of calls with one message and one answer. Event loop only."""

    def __init__(self, most: int) -> None:
        self._pool: Pool[str] = Pool(most)

    @property
    def taken(self) -> int:
        """Calls in progress."""
        return self._pool.taken

    def enter(self, source: str) -> None:
        """The call of this task is in progress until the task ends. Raises TooManyCalls."""
        pool, mine = self._pool, self._pool.of(source)
        if pool.taken >= pool.most or (mine and not pool.fits(source, 1)):
            raise TooManyCalls(
                f"{pool.taken} calls are in progress, {mine} of them from this client; the limit is {pool.most} "
                "(max_calls), and one client gets at most half of it; wait for answers before the next call"
            )
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a call has a task")
        pool.take(source, 1)
        task.add_done_callback(lambda _: pool.give_back(source, 1))
