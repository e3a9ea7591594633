"""The entrance of all doors: calls with one message and one answer pass it, and it is the same one for every door.

A call waits for its turn, takes a place, and has its message received. Streams only wait for their turn here: their
first messages and their sessions have bounds of their own.

Trap: there is one of it in the process. With one for each door a client could have everything as often as there are
doors.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .apart import Apart
from .places import CallPlaces
from .receiving import Reception
from .turns import CallTurns, Connected, Payments

RECEIVING_PLACES = 16
"""Messages that are received at a time, beside those of streams."""

_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EntranceBounds:
    """`max_calls`: in progress. `max_waiting_calls`: because their sources pay. `receive_timeout_s`: for a message."""

    max_calls: int
    max_waiting_calls: int
    receive_timeout_s: float


class Entrance:
    """Event loop only. `serves_others`: see `Apart`."""

    def __init__(
        self, bounds: EntranceBounds, payments: Payments, serves_others: Callable[[AbstractSet[str]], bool]
    ) -> None:
        self._connected: list[Connected] = []
        self.turns = CallTurns(bounds.max_waiting_calls, payments, self._all_connected)
        self.places = CallPlaces(bounds.max_calls)
        self.reception = Reception(places=RECEIVING_PLACES, timeout_s=bounds.receive_timeout_s, patience_s=_PATIENCE_S)
        self.apart = Apart(serves_others)

    def knows(self, connected: Connected) -> None:
        """Take a door's word for which of its connections are open."""
        self._connected.append(connected)

    async def _all_connected(self) -> AbstractSet[str] | None:
        """Of all doors; None if one of them does not know."""
        found: set[str] = set()
        for connected in self._connected:
            peers = await connected()
            if peers is None:
                return None
            found |= peers
        return found

    def close(self) -> None:
        """Nobody comes any more: let go on what waits for a turn, and end the thread. Harmless to repeat."""
        self.turns.close()
        self.apart.close()
