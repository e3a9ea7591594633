"""Who holds a session's name: at most one stream per client and session id, the one with the newest epoch.

Why: when a stream is cut, its client opens the next epoch, perhaps before this server has noticed the cut. The old
stream must not go on beside the new one, and a late stream of an older epoch must not push the new one out. Sessions
are bounded here too, because only here it is known whether a stream is one more. Trap: nothing is remembered of a
session that has no stream; any epoch may begin again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from reidstream_server.errors import StaleEpoch, TakenOver, TooManySessions


@dataclass(slots=True, eq=False)
class Holding:
    """A stream's hold on a session: a client, and its id. `taken_over_by` is set with the epoch that took it."""

    name: tuple[str, bytes]
    epoch: int
    taken_over_by: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def taken_over(self) -> None:
        """Raises TakenOver when a newer stream resumes the session."""
        epoch = await asyncio.shield(self.taken_over_by)
        raise TakenOver(f"another stream has resumed the session, with epoch {epoch}")


class Epochs:
    """The names that are held, `most` at a time. Event loop only."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._holders: dict[tuple[str, bytes], Holding] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def hold(self, client: str, session_id: bytes, epoch: int) -> Holding:
        """Take a name, from an older stream if there is one. Raises StaleEpoch if a newer stream holds it, and
        TooManySessions if there is no room. A stream that resumes a session takes the place that the session has.
        """
        name = (client, session_id)
        before = self._holders.get(name)
        if before is not None:
            if epoch < before.epoch:
                raise StaleEpoch(f"epoch {epoch} of this session is over; epoch {before.epoch} is open")
            before.taken_over_by.set_result(epoch)
        elif len(self._holders) >= self._most:
            raise TooManySessions(
                f"{self._most} sessions are open, which is the limit (max_sessions); try later or another server"
            )
        holding = self._holders[name] = Holding(name, epoch)
        return holding

    def release(self, holding: Holding) -> None:
        """The stream has ended. Harmless for one that was taken over."""
        if self._holders.get(holding.name) is holding:
            del self._holders[holding.name]
        holding.taken_over_by.cancel()
