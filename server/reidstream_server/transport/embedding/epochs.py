"""Who holds a session's name: at most one stream per client and session id, the one with the newest epoch.

Why: when a stream is cut, its client opens the next epoch, perhaps before this server has noticed the cut. The old
stream must not go on beside the new one, and a late stream of an older epoch must not push the new one out. Sessions
are bounded here too, in all and for each source, because only here it is known whether a stream is one more. Trap:
nothing is remembered of a session that has no stream; any epoch may begin again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from reidstream_server.core.sharing import Pool
from reidstream_server.errors import StaleEpoch, TakenOver, TooManySessions
from reidstream_server.identity.access import Caller


@dataclass(slots=True, eq=False)
class Holding:
    """A stream's hold on a session: a client, and its id. `source`: who is held responsible for it. `taken_over_by` is
    set with the epoch that took it.
    """

    name: tuple[str, bytes]
    epoch: int
    source: str
    taken_over_by: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def taken_over(self) -> None:
        """Raises TakenOver when a newer stream resumes the session."""
        epoch = await asyncio.shield(self.taken_over_by)
        raise TakenOver(f"another stream has resumed the session, with epoch {epoch}")


class Epochs:
    """The names that are held: `most` at a time, `most_each` of one source, and nobody has more than is still free.
    Event loop only.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most_each = most_each
        self._places: Pool[str] = Pool(most)
        self._holders: dict[tuple[str, bytes], Holding] = {}

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def largest(self) -> int:
        """How many the source has that has most."""
        return self._places.largest

    def hold(self, caller: Caller, session_id: bytes, epoch: int) -> Holding:
        """Take a name, from an older stream if there is one. Raises StaleEpoch if a newer stream holds it, and
        TooManySessions if there is no room. A stream that resumes a session takes the place that the session has.
        """
        name = (caller.client, session_id)
        before = self._holders.get(name)
        if before is None:
            self._check_room(caller.source)
        elif epoch < before.epoch:
            raise StaleEpoch(f"epoch {epoch} of this session is over; epoch {before.epoch} is open")
        else:
            self._places.give_back(before.source, 1)
            before.taken_over_by.set_result(epoch)
        self._places.take(caller.source, 1)
        holding = self._holders[name] = Holding(name, epoch, caller.source)
        return holding

    def release(self, holding: Holding) -> None:
        """The stream has ended. Harmless for one that was taken over."""
        if self._holders.get(holding.name) is holding:
            del self._holders[holding.name]
            self._places.give_back(holding.source, 1)
        holding.taken_over_by.cancel()

    def _check_room(self, source: str) -> None:
        places, mine = self._places, self._places.of(source)
        if places.taken >= places.most:
            raise TooManySessions(
                f"{places.most} sessions are open, which is the limit (max_sessions); try later or another server"
            )
        if mine >= self._most_each:
            raise TooManySessions(
                f"this client has {mine} sessions open, which is the limit for one (max_sessions_per_client, and at "
                "most half of max_sessions); close one, or raise the limit of the server"
            )
        if mine and not places.fits(source, 1):
            raise TooManySessions(
                f"{places.taken} of {places.most} sessions are open (max_sessions), {mine} of them by this client, and "
                "the rest is kept for others; close one, or try later or another server"
            )
