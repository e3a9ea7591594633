"""How many sources spend what is free at present, counted without looking at all of them.

Why: a quarter of the time is free for each source, and there is no end of sources. So those that spend share what is
free for all, and whoever spends nothing is not counted.

Trap: a source spends until it may have all that is free again, and that moves on. So the heap has times that may be too
early; one that turns up is put back.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


class Spenders:
    """By name. Not thread-safe."""

    def __init__(self) -> None:
        self._until: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def count(self, now: int, begin: Sequence[str]) -> int:
        """How many spend, with those that begin now."""
        while self._heap and self._heap[0][0] <= now:
            _, name = heapq.heappop(self._heap)
            until = self._until.get(name)
            if until is None:
                continue
            if until > now:
                heapq.heappush(self._heap, (until, name))
            else:
                del self._until[name]
        return len(self._until) + sum(name not in self._until for name in begin)

    def note(self, name: str, until_ns: int) -> None:
        """The source spends until then; never earlier than what was said before."""
        if name not in self._until:
            heapq.heappush(self._heap, (until_ns, name))
        self._until[name] = until_ns

    def forget(self, name: str) -> None:
        """The source is not known any more. Harmless for one that does not spend."""
        self._until.pop(name, None)
