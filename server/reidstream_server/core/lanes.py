"""Cameras at one priority, and how those of one source share its turns: deficit round robin on two levels.

Why two: cameras take turns, and a client with hundreds of them would have nearly all. So a source has so many *places*
in the ring at most (see `ring`), and its lanes stand in one *line* for them. What a place brings when its turn comes, a
quantum, goes into the source's *purse*; whoever of the source is served is paid from there. And each lane has a deficit
of its own: its turn adds a quantum to it, lasts until it does not pay for the lane's next item, and sends the lane to
the end of the line.

So both bounds are those of deficit round robin (Shreedhar and Varghese, "Efficient fair queuing using deficit round
robin", 1996), once for each level. Two lanes of a source that wait, and are wanted at the same times, have their turns
alternately, whatever the others do: what they got differs by a quantum and an item of each at most. And a source gets
no more than its places brought, and what its lanes had saved up.

Where a source has as many places as lanes, each lane has its own, the purse always has what its deficit says, and this
is the usual deficit round robin.

Traps: a lane that is not wanted any more may be in the middle of its turn. It stays where it is in the line, so it goes
on before the others as soon as it is wanted. Meanwhile another one has begun a turn in the same place. That is why
deficits alone are no bound for the source: of a hundred cameras, each could have begun one, before anybody else had his
turn. And a lane without items keeps its place in the line until its turn comes: its camera may only be replacing them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .terms import Flow, Priority

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """An item in the queue. `cost`: how many boxes of it still wait."""

    item: T
    cost: int
    since_ns: int
    number: int
    lane: Lane[T]


@dataclass(slots=True, eq=False)
class Lane(Generic[T]):
    """The items of one flow at one priority, oldest first. `waits_since_ns`: since when it has had items, and none was
    taken. `place`: where it had its last turn, unless another had one there since; it has no second one elsewhere.
    """

    priority: Priority
    flow: Flow
    source: Source[T]
    waits_since_ns: int
    entries: OrderedDict[int, Entry[T]] = field(default_factory=OrderedDict)
    deficit: int = 0
    in_turn: bool = False
    place: Place[T] | None = None

    def first(self) -> Entry[T]:
        """Its oldest item. There must be one."""
        return next(iter(self.entries.values()))

    def is_wanted(self, wanted: Callable[[T], bool] | None) -> bool:
        """Whether it has items, and the first of them is wanted."""
        return bool(self.entries) and (wanted is None or wanted(self.first().item))


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """A turn of a source in each round. `lane`: who has it, or had it last. `open`: it is this place's turn, and what
    it brings is in the purse.
    """

    source: Source[T]
    lane: Lane[T] | None = None
    open: bool = False

    def seat(self, lane: Lane[T]) -> None:
        """The turn is this lane's, and no longer another one's."""
        if self.lane is not lane:
            self.clear()
            self.lane, lane.place = lane, self
            if lane.in_turn:
                self.source.broken_off -= lane.deficit
                self.source.begun += lane.deficit

    def clear(self) -> None:
        """It is nobody's."""
        if self.lane is not None:
            if self.lane.in_turn:
                self.source.begun -= self.lane.deficit
                self.source.broken_off += self.lane.deficit
            self.lane.place = None
            self.lane = None


@dataclass(slots=True, eq=False)
class Source(Generic[T]):
    """Whose lanes share places. `line`: them, in the order of their turns. `places`: how many there are. `purse`: what
    may be spent on their items. `begun`, `broken_off`, `saved`: the deficits of lanes that are in their turns and have
    their places, of those that are in their turns and lost them, and of the others.
    """

    quantum: int
    line: OrderedDict[Flow, Lane[T]] = field(default_factory=OrderedDict)
    places: int = 0
    purse: int = 0
    begun: int = 0
    broken_off: int = 0
    saved: int = 0

    @property
    def has_turn_left(self) -> bool:
        """Whether its places have brought a whole turn, beside those that go on in them."""
        return self.purse - self.saved - self.begun >= self.quantum

    def first(self, wanted: Callable[[T], bool] | None, empty: list[Lane[T]]) -> Lane[T] | None:
        """Whose turn it is of those that are wanted. Those before it that have nothing are `empty`: their turn has
        come; except where they have a place, whose turn is still to come.
        """
        for lane in self.line.values():
            if lane.entries:
                if wanted is None or wanted(lane.first().item):
                    return lane
            elif lane.place is None:
                empty.append(lane)
        return None

    def begin_turn(self, lane: Lane[T]) -> None:
        """It may spend a quantum, and what it had left from before."""
        lane.in_turn = True
        self.saved -= lane.deficit
        lane.deficit += self.quantum
        self.begun += lane.deficit

    def spend(self, lane: Lane[T], boxes: int) -> None:
        """So many boxes of it are taken in its turn."""
        lane.deficit -= boxes
        self.begun -= boxes
        self.purse -= boxes

    def end_turn(self, lane: Lane[T]) -> None:
        """It keeps what it has left, which does not pay for its next item, and goes to the end of the line."""
        lane.in_turn = False
        self.begun -= lane.deficit
        self.saved += lane.deficit
        self.line.move_to_end(lane.flow)

    def keep_one_turn(self) -> None:
        """Nobody can have what its places have brought. One turn of it is kept."""
        self.purse = min(self.purse, self.saved + self.begun + max(self.broken_off, self.quantum))

    def forget(self, lane: Lane[T]) -> None:
        """It has no items any more. What it has left is lost, except for what the places have not brought yet."""
        owed = max(self.begun + self.broken_off + self.saved - self.purse, 0)
        self.purse -= max(lane.deficit - owed, 0)
        if not lane.in_turn:
            self.saved -= lane.deficit
        elif lane.place is None:
            self.broken_off -= lane.deficit
        else:
            self.begun -= lane.deficit
        del self.line[lane.flow]
