"""When free memory is given back, and when somebody's calls are ended. Pure: measurements in, a decision out.

What is not accounted for is: private memory, less what was there at the start, less what admission and the sessions
account for. It is what gRPC has received and not handed over, and memory that is free.

    more than the bound     first give free memory back; if that was done just now, end calls
    much                    give free memory back, now and then

Trap: free memory cannot be told from received bytes without giving it back, and nothing tells when received bytes
become free memory. So giving back is tried again and again, and it is tried before anybody is blamed. But what frames
need again at once costs page faults: where memory comes back soon, it is tried rarely.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MUCH_BYTES = 48 * 2**20
"""So much more than at the start is not worth a look."""

GIVEN_BACK_FOR_S = 0.5
FIRST_PAUSE_S = 1.0
HELD_PAUSE_S = 5.0
"""Between two tries of which the first has brought little: somebody holds it, and may let go. A try costs 1 ms."""

WORKING_PAUSE_S = 30.0
"""Between two tries when what the first has brought is in use again. 100 MB cost some 40 ms in page faults. Not where
the work that is there now could use only a small part of it: then those have left who needed it.
"""

SMALL_PART = 8


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
        self._level = self._left = 0  # before and after giving back last
        self._highest = 0  # before giving back lately
        self._gave_back_s = self._tried_s = float("-inf")
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
        perhaps_free = self._perhaps_free(measured)
        if perhaps_free <= MUCH_BYTES:
            return Act.NOTHING
        if self._has_grown(perhaps_free, self._highest):
            self._pause_s = FIRST_PAUSE_S
        in_use = measured.counted_bytes - self._idle
        pause_s = self._pause_s if in_use * SMALL_PART >= perhaps_free else min(self._pause_s, HELD_PAUSE_S)
        return Act.GIVE_BACK if now - self._tried_s >= pause_s else Act.NOTHING

    def gave_back(self, before: Measured, private_bytes: int) -> None:
        """Free memory was given back, and `private_bytes` are left."""
        brought, had_brought = before.private_bytes - private_bytes, self._level - self._left
        level = self._perhaps_free(before)
        came_back = level >= self._left + had_brought // 2 and not self._has_grown(level, self._highest)
        if brought < MUCH_BYTES // 4:
            self._pause_s = min(2 * self._pause_s, HELD_PAUSE_S)
        elif brought < MUCH_BYTES or came_back:
            self._pause_s = min(2 * self._pause_s, WORKING_PAUSE_S)
        else:
            self._pause_s = FIRST_PAUSE_S
        self._gave_back_s = self._tried_s = before.now_s
        self._level, self._left = level, level - brought
        self._highest = max(level, self._highest * 3 // 4)

    def ended_calls(self) -> None:
        """What they held becomes free, and must be given back before anybody else is blamed."""
        self._gave_back_s = float("-inf")
        self._pause_s = FIRST_PAUSE_S

    @staticmethod
    def _has_grown(level: int, before: int) -> bool:
        """By more than work varies."""
        return level > before * 3 // 2 + MUCH_BYTES

    def _perhaps_free(self, measured: Measured) -> int:
        return max(0, measured.private_bytes - self._base - measured.counted_bytes + self._idle)
