"""The virtual clock, and a heap of the calls that it will make. Calls of the same time are made in the order in which
they were asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class Timeline:
    """See the module."""

    def __init__(self, start_ns: int) -> None:
        self.now = start_ns
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._made = 0

    def at(self, at_ns: int, call: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Have something happen, now at the earliest."""
        self._made += 1
        heapq.heappush(self._heap, (max(at_ns, self.now), self._made, lambda: call(*arguments)))

    def advance(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._heap:
            return False
        self.now, _, call = heapq.heappop(self._heap)
        call()
        return True
