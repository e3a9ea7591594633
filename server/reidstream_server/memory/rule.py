"""When free memory is given back, and when somebody's calls are ended. Pure: measurements in, a decision out.

What is not accounted for is: private memory, less what was there at the start, less what admission and the sessions
account for. It is what gRPC has received and not handed over, and memory that is free.

    more than the bound     first give free memory back; if that was done just now, end calls
    much, in a quiet time   give free memory back; less and less often while that brings little

Trap: free memory cannot be told from received bytes without giving it back, and nothing tells when received bytes
become free memory. So giving back is tried again, and it is tried before anybody is blamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MUCH_BYTES = 48 * 2**20
"""So much more than at the start is not worth a look."""

QUIET_BYTES = 64 * 2**20
"""A server that holds less than this for its clients can spare the milliseconds."""

QUIET_S = 2.0
GIVEN_BACK_FOR_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 5.0


class Act(Enum):
    """What the watch does."""

    NOTHING = "nothing"
    GIVE_BACK = "give_back"
    END_CALLS = "end_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One look. `private_bytes`: of the process. `counted_bytes`: what is accounted for of it, beside the base."""

    now_s: float
    private_bytes: int
    counted_bytes: int


class WatchRule:
    """`base_bytes`: private memory at the start. `bound_bytes`: of what is not accounted for. `idle_bytes`: the part of
    what is accounted for that is only allowed for, and may not be there. Not thread-safe.
    """

    def __init__(self, *, base_bytes: int, bound_bytes: int, idle_bytes: int) -> None:
        self._base = base_bytes
        self._bound = bound_bytes
        self._idle = idle_bytes
        self._left = 0
        self._gave_back_s = self._busy_s = self._next_s = float("-inf")
        self._pause_s = FIRST_PAUSE_S

    def uncounted(self, measured: Measured) -> int:
        """What is not accounted for, in bytes; at least 0."""
        return max(0, measured.private_bytes - self._base - measured.counted_bytes)

    def needs_accounts(self, private_bytes: int) -> bool:
        """Whether a look at private memory alone leaves something to decide."""
        return private_bytes - self._base > MUCH_BYTES

    def little(self, measured: Measured) -> bool:
        """Whether so little is not accounted for that it does not matter who holds it."""
        return self._perhaps_free(measured) <= max(MUCH_BYTES, self._bound // 4)

    def near(self, private_bytes: int) -> bool:
        """Whether the next look should come soon."""
        return private_bytes - self._base > self._bound // 2

    def decide(self, measured: Measured) -> Act:
        """What to do about one look."""
        now, uncounted = measured.now_s, self.uncounted(measured)
        if uncounted > self._bound:
            return Act.END_CALLS if now - self._gave_back_s < GIVEN_BACK_FOR_S else Act.GIVE_BACK
        if measured.counted_bytes - self._idle > QUIET_BYTES:
            self._busy_s = now
        perhaps_free = self._perhaps_free(measured)
        if perhaps_free <= MUCH_BYTES:
            return Act.NOTHING
        if abs(perhaps_free - self._left) > MUCH_BYTES:
            self._soon()
        may = now - self._busy_s >= QUIET_S or uncounted > self._bound // 2
        return Act.GIVE_BACK if may and now >= self._next_s else Act.NOTHING

    def gave_back(self, before: Measured, private_bytes: int) -> None:
        """Free memory was given back, and `private_bytes` are left."""
        now, brought = before.now_s, before.private_bytes - private_bytes
        self._gave_back_s = now
        self._left = self._perhaps_free(before) - brought
        self._pause_s = FIRST_PAUSE_S if brought > MUCH_BYTES // 4 else min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._next_s = now + self._pause_s

    def ended_calls(self) -> None:
        """What they held becomes free, and must be given back before anybody else is blamed."""
        self._gave_back_s = float("-inf")
        self._soon()

    def _perhaps_free(self, measured: Measured) -> int:
        return max(0, measured.private_bytes - self._base - measured.counted_bytes + self._idle)

    def _soon(self) -> None:
        self._pause_s, self._next_s = FIRST_PAUSE_S, float("-inf")
