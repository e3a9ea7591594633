"""Strict priorities that cannot starve, and deficit round robin by boxes within each.

Why: a camera that sends more boxes must not take the engines from the others, and arrival order should hold while
nobody is greedy. Each priority has
a ring of flows; a flow's turn adds `quantum` to its deficit and lasts until the deficit does not pay for its next
item (Shreedhar and Varghese,
"Efficient fair queuing using deficit round robin", 1995). While a lower priority has an item older than `aging_ns`,
one of every
`AGED_SHARE` items is taken from it.

Trap: cancelled items stay in their deques until they come to the front; only `len` and `cost` are exact at all times.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .terms import Flow, Priority

T = TypeVar("T")

AGED_SHARE = 8
_HIGHEST_FIRST = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """An item in the queue. `live` turns False when it is taken or cancelled."""

    item: T
    cost: int
    since_ns: int
    live: bool = True


@dataclass(slots=True, eq=False)
class _Lane(Generic[T]):
    """The items of one flow at one priority, oldest first."""

    entries: deque[Entry[T]] = field(default_factory=deque)
    deficit: int = 0
    in_turn: bool = False


@dataclass(slots=True, eq=False)
class _Level(Generic[T]):
    """One priority: lanes by flow, the ring of those with items, and all items by age."""

    lanes: dict[Flow, _Lane[T]] = field(default_factory=dict)
    ring: deque[Flow] = field(default_factory=deque)
    by_age: deque[Entry[T]] = field(default_factory=deque)

    def oldest_ns(self) -> int | None:
        """When the longest waiting live item came; None without one."""
        while self.by_age and not self.by_age[0].live:
            self.by_age.popleft()
        return self.by_age[0].since_ns if self.by_age else None


class FairQueue(Generic[T]):
    """See the module. Not thread-safe."""

    def __init__(self, *, quantum: int, aging_ns: int) -> None:
        self._quantum = quantum
        self._aging_ns = aging_ns
        self._levels: dict[Priority, _Level[T]] = {priority: _Level() for priority in _HIGHEST_FIRST}
        self._since_aged = 0
        self._count = 0
        self._cost = 0

    def __len__(self) -> int:
        return self._count

    @property
    def cost(self) -> int:
        """Sum of the costs of the items in the queue."""
        return self._cost

    def push(self, item: T, *, flow: Flow, priority: Priority, cost: int, now: int) -> Entry[T]:
        """Add an item of `cost` >= 1 at the end of its flow."""
        level = self._levels[priority]
        entry = Entry(item, cost, now)
        lane = level.lanes.get(flow)
        if lane is None:
            lane = level.lanes[flow] = _Lane()
            level.ring.append(flow)
        lane.entries.append(entry)
        level.by_age.append(entry)
        self._count += 1
        self._cost += cost
        return entry

    def cancel(self, entry: Entry[T]) -> None:
        """Take an item out, wherever it is. Harmless for one that is out already."""
        if entry.live:
            self._remove(entry)

    def pop(self, now: int) -> T | None:
        """The next item in fair order; None when there is none."""
        level = self._next_level(now)
        if level is None:
            return None
        entry = self._next_entry(level)
        self._remove(entry)
        return entry.item

    def oldest_ns(self) -> int | None:
        """When the longest waiting item came; None when there is none."""
        ages = [age for level in self._levels.values() if (age := level.oldest_ns()) is not None]
        return min(ages, default=None)

    def _remove(self, entry: Entry[T]) -> None:
        entry.live = False
        self._count -= 1
        self._cost -= entry.cost

    def _next_level(self, now: int) -> _Level[T] | None:
        waiting = [
            (age, level)
            for priority in _HIGHEST_FIRST
            if (age := (level := self._levels[priority]).oldest_ns()) is not None
        ]
        if len(waiting) < 2:  # noqa: PLR2004 - with one level there is nothing to choose
            return waiting[0][1] if waiting else None
        aged_ns, aged = min(waiting[1:], key=lambda pair: pair[0])
        if now - aged_ns < self._aging_ns:
            return waiting[0][1]
        self._since_aged += 1
        if self._since_aged < AGED_SHARE:
            return waiting[0][1]
        self._since_aged = 0
        return aged

    def _next_entry(self, level: _Level[T]) -> Entry[T]:
        """The deficit round robin. The level has at least one live item."""
        while True:
            flow = level.ring[0]
            lane = level.lanes[flow]
            while lane.entries and not lane.entries[0].live:
                lane.entries.popleft()
            if not lane.entries:
                level.ring.popleft()
                del level.lanes[flow]
                continue
            if not lane.in_turn:
                lane.in_turn = True
                lane.deficit += self._quantum
            if lane.entries[0].cost <= lane.deficit:
                entry = lane.entries.popleft()
                lane.deficit -= entry.cost
                if not lane.entries:  # whoever comes back goes to the end of the ring
                    level.ring.popleft()
                    del level.lanes[flow]
                return entry
            lane.in_turn = False
            level.ring.rotate(-1)
