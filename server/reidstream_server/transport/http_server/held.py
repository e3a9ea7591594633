"""Answers that are not taken yet, of all handlers: their bytes are bounded, and shared by sources.

Trap: what one handler holds is memory whatever the others hold, so there is one of it for the port.
"""

from __future__ import annotations

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import TooManyCalls

from .tasks import current_task


class HeldAnswers:
    """`most`: bytes. Event loop only."""

    def __init__(self, most: int) -> None:
        self._pool: Pool[str] = Pool(most)

    def hold(self, source: str, size: int) -> None:
        """The answer of this task's call is there until the call is over. Raises TooManyCalls."""
        pool, mine = self._pool, self._pool.of(source)
        if not pool.fits(source, size):
            raise TooManyCalls(
                f"answers of {pool.taken} bytes are not taken yet, {mine} of them by this client; the limit is "
                f"{pool.most}, and one client gets at most half of it; read answers before the next call"
            )
        pool.take(source, size)
        current_task().add_done_callback(lambda _: pool.give_back(source, size))
