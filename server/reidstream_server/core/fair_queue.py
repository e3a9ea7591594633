"""Strict priorities that cannot starve, and deficit round robin by cost within each.

The cost of an item is a whole number: boxes where crops wait, nanoseconds of a core where frames do.

Why: a camera that sends more boxes must not take the engines from the others, and arrival order should hold while
nobody is greedy. Each priority has a ring of flows; a flow's turn adds `quantum` to its deficit and lasts until the
deficit does not pay for its next item (Shreedhar and Varghese, "Efficient fair queuing using deficit round robin",
1995). While somebody of a lower priority has waited for longer than `aging_ns`, one of every `AGED_SHARE` boxes goes
there.

Trap: a flow that replaces its waiting items (the newest frame instead of the oldest) must keep its place in the ring,
and the time since it waits. Otherwise a flow whose items are always fresh would starve. So a lane stays when its items
are cancelled, until its turn comes or nobody waits at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .terms import Flow, Priority

T = TypeVar("T")

AGED_SHARE = 8
_HIGHEST_FIRST = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """An item in the queue. `cost`: how many boxes of it still wait."""

    item: T
    cost: int
    since_ns: int
    number: int
    lane: _Lane[T]


@dataclass(slots=True, eq=False)
class _Lane(Generic[T]):
    """The items of one flow at one priority, oldest first. `waits_since_ns`: since when it has had items, and none was
    taken.
    """

    level: _Level[T]
    flow: Flow
    waits_since_ns: int
    entries: OrderedDict[int, Entry[T]] = field(default_factory=OrderedDict)
    deficit: int = 0
    in_turn: bool = False

    def first(self) -> Entry[T]:
        """Its oldest item. There must be one."""
        return next(iter(self.entries.values()))


@dataclass(slots=True, eq=False)
class _Level(Generic[T]):
    """One priority: its lanes in the order of their turns."""

    ring: OrderedDict[Flow, _Lane[T]] = field(default_factory=OrderedDict)
    count: int = 0
    known_oldest_ns: int | None = None

    def oldest_ns(self) -> int:
        """Since when its longest waiting lane has waited. There must be one."""
        if self.known_oldest_ns is None:
            self.known_oldest_ns = min(lane.waits_since_ns for lane in self.ring.values() if lane.entries)
        return self.known_oldest_ns


class FairQueue(Generic[T]):
    """See the module. Not thread-safe."""

    def __init__(self, *, quantum: int, aging_ns: int) -> None:
        self._quantum = quantum
        self._aging_ns = aging_ns
        self._levels: dict[Priority, _Level[T]] = {priority: _Level() for priority in _HIGHEST_FIRST}
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
        lane = level.ring.get(flow)
        if lane is None:
            lane = level.ring[flow] = _Lane(level, flow, now)
        self._made += 1
        entry = lane.entries[self._made] = Entry(item, cost, now, self._made, lane)
        level.count += 1
        if level.known_oldest_ns is not None:
            level.known_oldest_ns = min(level.known_oldest_ns, lane.waits_since_ns)
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
            entry = self._next_entry(level, wanted)
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
        entry = self._next_entry(level, None, least=1)
        if entry is None:
            raise AssertionError("a level that counts items has one")
        boxes = min(most, entry.cost, entry.lane.deficit)
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

    def _aged(self, waiting: list[_Level[T]], now: int) -> _Level[T] | None:
        """The level whose turn it is, although a higher one has items."""
        if len(waiting) < 2 or self._owed:  # noqa: PLR2004 - with one level there is nothing to choose
            return None
        aged = min(waiting[1:], key=_Level.oldest_ns)
        return aged if now - aged.oldest_ns() >= self._aging_ns else None

    def _pay(self, boxes: int, *, aged: bool) -> None:
        self._owed = (AGED_SHARE - 1) * boxes if aged else max(self._owed - boxes, 0)

    def _next_entry(
        self, level: _Level[T], wanted: Callable[[T], bool] | None, *, least: int | None = None
    ) -> Entry[T] | None:
        """The deficit round robin: the item whose turn it is. It stays in the queue. Its lane must be able to pay for
        `least` boxes of it; None: for all of them.
        """
        began: _Lane[T] | None = None
        while (lane := _first_lane(level, wanted)) is not None:
            if lane is began:
                self._skip_rounds(level, wanted, least)
            began = began or lane
            entry = lane.first()
            if not lane.in_turn:
                lane.in_turn = True
                lane.deficit += self._quantum
            if (least or entry.cost) <= lane.deficit:
                return entry
            lane.in_turn = False
            level.ring.move_to_end(lane.flow)
        return None

    def _skip_rounds(self, level: _Level[T], wanted: Callable[[T], bool] | None, least: int | None) -> None:
        """Give every lane the quanta of the rounds in which none could pay: one item may cost a thousand quanta."""
        lanes = [lane for lane in level.ring.values() if lane.entries and (not wanted or wanted(lane.first().item))]
        rounds = min(-((lane.deficit - (least or lane.first().cost)) // self._quantum) for lane in lanes) - 1
        for lane in lanes:
            lane.deficit += max(rounds, 0) * self._quantum

    def _take(self, entry: Entry[T], boxes: int) -> None:
        lane = entry.lane
        lane.deficit -= boxes
        if boxes < entry.cost:
            entry.cost -= boxes
            self._boxes -= boxes
            _forget_oldest(lane)
        else:
            self._remove(entry)
        if lane.entries:
            lane.waits_since_ns = lane.first().since_ns
        else:  # whoever comes back goes to the end of the ring
            lane.level.ring.pop(lane.flow, None)

    def _remove(self, entry: Entry[T]) -> None:
        lane = entry.lane
        del lane.entries[entry.number]
        lane.level.count -= 1
        _forget_oldest(lane)
        self._count -= 1
        self._boxes -= entry.cost
        if not self._count:  # nobody waits, so nobody keeps a place
            for level in self._levels.values():
                level.ring.clear()


def _forget_oldest(lane: _Lane[T]) -> None:
    """If this lane may have been the oldest, look again when asked."""
    if lane.level.known_oldest_ns == lane.waits_since_ns:
        lane.level.known_oldest_ns = None


def _first_lane(level: _Level[T], wanted: Callable[[T], bool] | None) -> _Lane[T] | None:
    """The first lane in the ring whose next item is wanted. Lanes that are passed over keep their places."""
    empty: list[Flow] = []
    found: _Lane[T] | None = None
    for lane in level.ring.values():
        if not lane.entries:
            empty.append(lane.flow)
        elif wanted is None or wanted(lane.first().item):
            found = lane
            break
    for flow in empty:
        del level.ring[flow]
    return found
