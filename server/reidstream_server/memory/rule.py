"""When free memory is given back, and when somebody's calls are ended. Pure: measurements in, a decision out.

What is not accounted for is: private memory, less what was there at the start, less what admission and the sessions
account for. It is what gRPC has received and not handed over, and memory that is free.

    more than the bound             first give free memory back; if that was done just now, end calls
    much more than was left, quiet  give free memory back

Trap: free memory cannot be told from received bytes without giving it back, and giving back is not free. So it is done
in quiet times, once for each growth, and before anybody is blamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

GROWTH_BYTES = 48 * 2**20
QUIET_BYTES = 16 * 2**20
QUIET_S = 3.0
GIVEN_BACK_FOR_S = 0.5


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
    """`base_bytes`: private memory at the start. `bound_bytes`: of what is not accounted for. Not thread-safe."""

    def __init__(self, *, base_bytes: int, bound_bytes: int, idle_counted_bytes: int) -> None:
        self._base = base_bytes
        self._bound = bound_bytes
        self._idle = idle_counted_bytes
        self._left = 0
        self._gave_back_s = float("-inf")
        self._busy_s = float("-inf")

    def uncounted(self, measured: Measured) -> int:
        """What is not accounted for, in bytes; at least 0."""
        return max(0, measured.private_bytes - self._base - measured.counted_bytes)

    def needs_accounts(self, private_bytes: int) -> bool:
        """Look at private memory alone: whether that leaves something to decide. False nearly always."""
        held = private_bytes - self._base
        self._left = max(0, min(self._left, held))
        return held > min(self._left + GROWTH_BYTES, self._bound)

    def near(self, private_bytes: int) -> bool:
        """Whether the next look should come soon."""
        return private_bytes - self._base > self._bound // 2

    def decide(self, measured: Measured) -> Act:
        """What to do about one look."""
        now = measured.now_s
        if self.uncounted(measured) > self._bound:
            return Act.END_CALLS if now - self._gave_back_s < GIVEN_BACK_FOR_S else Act.GIVE_BACK
        if measured.counted_bytes - self._idle > QUIET_BYTES:
            self._busy_s = now
        grown = measured.private_bytes - self._base > self._left + GROWTH_BYTES
        return Act.GIVE_BACK if grown and now - self._busy_s >= QUIET_S else Act.NOTHING

    def ended_calls(self) -> None:
        """What they held is free now, and must be given back before anybody else is blamed."""
        self._gave_back_s = float("-inf")

    def gave_back(self, now_s: float, private_bytes: int) -> None:
        """Free memory was given back, and so much is left."""
        self._gave_back_s = now_s
        self._left = max(0, private_bytes - self._base)
