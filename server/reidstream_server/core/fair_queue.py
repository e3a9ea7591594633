"""Strict priorities that cannot starve, and deficit round robin by cost within each.

The cost of an item is a whole number: boxes where crops wait, nanoseconds of a core where frames do.

Why: a camera that sends more boxes must not take the engines from the others, and arrival order should hold while
nobody is greedy. Each priority has a ring of flows (see `ring` and `lanes`): a flow's turn adds `quantum` to its
deficit, and lasts until the deficit does not pay for its next item. While somebody of a lower priority has waited for
longer than `aging_ns`, one of every `AGED_SHARE` boxes goes there.

Trap: a flow that replaces its waiting items (the newest frame instead of the oldest) must keep its place in the ring,
and the time since it waits. Otherwise a flow whose items are always fresh would starve. So a lane stays when its items
are cancelled, until its turn comes or nobody waits at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .lanes import Entry
from .ring import Ring
from .terms import Flow, Priority

T = TypeVar("T")

AGED_SHARE = 8
_HIGHEST_FIRST = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


class FairQueue(Generic[T]):
    """See the module. `most_turns`: of one source, in each round. Not thread-safe."""

    def __init__(self, *, quantum: int, aging_ns: int, most_turns: int) -> None:
        self._aging_ns = aging_ns
        self._levels: dict[Priority, Ring[T]] = {
            priority: Ring(priority, quantum=quantum, most=most_turns) for priority in _HIGHEST_FIRST
        }
        self._made = 0
        self._count = 0
        self._boxes = 0
        self._owed = 0  # boxes that go by priority before the next aged one

    def __len__(self) -> int:
        return self._count

    @property
    def boxes(self) -> int:
        """The cost of all items that wait."""
        return self._boxes

    def push(self, item: T, *, flow: Flow, priority: Priority, cost: int, now: int) -> Entry[T]:
        """Add an item of `cost` >= 1 at the end of its flow."""
        level = self._levels[priority]
        lane = level.lane(flow, now)
        self._made += 1
        entry = lane.entries[self._made] = Entry(item, cost, now, self._made, lane)
        level.count += 1
        self._count += 1
        self._boxes += cost
        return entry

    def cancel(self, entry: Entry[T]) -> bool:
        """Take an item out. False, and harmless, for one that is out already."""
        if entry.number not in entry.lane.entries:
            return False
        self._remove(entry)
        return True

    def pop(
        self, now: int, *, wanted: Callable[[T], bool] | None = None, fits: Callable[[T], bool] | None = None
    ) -> T | None:
        """The next item in fair order; None if there is none.

        A flow whose next item is not `wanted` is passed over, and loses nothing by it. If the next item does not fit,
        everybody waits for it: the result is None until it fits or is cancelled.
        """
        waiting = [level for level in self._levels.values() if level.count]
        aged = self._aged(waiting, now)
        for level in waiting if aged is None else (aged, *waiting):
            entry = level.next_entry(wanted)
            if entry is None:
                continue
            if fits is not None and not fits(entry.item):
                return None
            self._pay(entry.cost, aged=level is aged)
            self._take(entry, entry.cost)
            return entry.item
        return None

    def pop_boxes(self, now: int, most: int) -> tuple[T, int] | None:
        """The next item in fair order, and how many of its boxes are taken, 1 to `most`; the rest keeps its place.

        The order is as if every box were an item of its own; boxes that would follow each other are taken in one step.
        """
        waiting = [level for level in self._levels.values() if level.count]
        if not waiting:
            return None
        aged = self._aged(waiting, now)
        level = waiting[0] if aged is None else aged
        entry = level.next_entry(None, least=1)
        if entry is None:
            raise AssertionError("a level that counts items has one")
        boxes = min(most, entry.cost, entry.lane.deficit, entry.lane.source.purse)
        if aged is not None:
            boxes = 1
        elif self._owed and len(waiting) > 1:
            boxes = min(boxes, self._owed)
        self._pay(boxes, aged=aged is not None)
        self._take(entry, boxes)
        return entry.item, boxes

    def oldest_ns(self) -> int | None:
        """Since when the longest waiting flow has waited; None if nobody waits."""
        return min((level.oldest_ns() for level in self._levels.values() if level.count), default=None)

    def _aged(self, waiting: list[Ring[T]], now: int) -> Ring[T] | None:
        """The level whose turn it is, although a higher one has items."""
        if len(waiting) < 2 or self._owed:  # noqa: PLR2004 - with one level there is nothing to choose
            return None
        aged = min(waiting[1:], key=Ring.oldest_ns)
        return aged if now - aged.oldest_ns() >= self._aging_ns else None

    def _pay(self, boxes: int, *, aged: bool) -> None:
        self._owed = (AGED_SHARE - 1) * boxes if aged else max(self._owed - boxes, 0)

    def _take(self, entry: Entry[T], boxes: int) -> None:
        lane = entry.lane
        lane.source.spend(lane, boxes)
        if boxes < entry.cost:
            entry.cost -= boxes
            self._boxes -= boxes
            self._levels[lane.priority].forget_oldest(lane)
        else:
            self._remove(entry)
        if lane.entries:
            lane.waits_since_ns = lane.first().since_ns
        else:  # whoever comes back goes to the end of the ring
            self._levels[lane.priority].leave(lane)

    def _remove(self, entry: Entry[T]) -> None:
        lane = entry.lane
        del lane.entries[entry.number]
        level = self._levels[lane.priority]
        level.count -= 1
        level.forget_oldest(lane)
        self._count -= 1
        self._boxes -= entry.cost
        if not self._count:  # nobody waits, so nobody keeps a place
            for each in self._levels.values():
                each.clear()
