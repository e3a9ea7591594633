"""Whose turn it is, of the lanes of one priority. At most so many lanes of one source have a turn in each round.

Why: cameras take turns, and a client with hundreds of them would have nearly all. So the ring has *places*. A source
has so many at most, and its lanes share them: when a lane's turn is over, the next one of its source takes its place.
Where a source has no more lanes than places, each lane keeps its own.

Traps: a lane that is not wanted must hold no place that another of its source could use, or the source would be
blocked, and an engine idle. So the other one takes the place, and the first one *gave way*: it goes before all others
of its source as soon as it is wanted. Still a lane has one place at most, so nobody has two turns in a round. And a
lane without items keeps its place, or its place in the line of its source, until its turn comes: its camera may only
be replacing them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .terms import Flow

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
    taken. `place`: 0 if it has none.
    """

    ring: Ring[T]
    flow: Flow
    source: Source[T]
    waits_since_ns: int
    entries: OrderedDict[int, Entry[T]] = field(default_factory=OrderedDict)
    deficit: int = 0
    in_turn: bool = False
    place: int = 0

    def first(self) -> Entry[T]:
        """Its oldest item. There must be one."""
        return next(iter(self.entries.values()))

    def is_wanted(self, wanted: Callable[[T], bool] | None) -> bool:
        """Whether it has items, and the first of them is wanted."""
        return bool(self.entries) and (wanted is None or wanted(self.first().item))


@dataclass(slots=True, eq=False)
class Source(Generic[T]):
    """Whose lanes share places: how many it has, and its lanes without one, in their order. Those that `gave_way` go
    before the others.
    """

    places: int = 0
    gave_way: OrderedDict[Flow, Lane[T]] = field(default_factory=OrderedDict)
    waiting: OrderedDict[Flow, Lane[T]] = field(default_factory=OrderedDict)


class Ring(Generic[T]):
    """The lanes of one priority. `most`: the places of one source. `count`: of all items. Not thread-safe."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self.lanes: dict[Flow, Lane[T]] = {}
        self._most = most
        self._places: OrderedDict[int, Lane[T]] = OrderedDict()
        self._sources: dict[str, Source[T]] = {}
        self._made = 0
        self._known_oldest_ns: int | None = None

    def lane(self, flow: Flow, now: int) -> Lane[T]:
        """The lane of the flow; a new one begins at the end."""
        lane = self.lanes.get(flow)
        if lane is None:
            source = self._sources.get(flow.client)
            if source is None:
                source = self._sources[flow.client] = Source()
            lane = self.lanes[flow] = Lane(self, flow, source, now)
            if source.places < self._most:
                source.places += 1
                self._made += 1
                self._sit(self._made, lane)
            else:
                source.waiting[flow] = lane
        if self._known_oldest_ns is not None:
            self._known_oldest_ns = min(self._known_oldest_ns, lane.waits_since_ns)
        return lane

    def oldest_ns(self) -> int:
        """Since when its longest waiting lane has waited. There must be one."""
        if self._known_oldest_ns is None:
            self._known_oldest_ns = min(lane.waits_since_ns for lane in self.lanes.values() if lane.entries)
        return self._known_oldest_ns

    def forget_oldest(self, lane: Lane[T]) -> None:
        """If this lane may have been the oldest, look again when asked."""
        if self._known_oldest_ns == lane.waits_since_ns:
            self._known_oldest_ns = None

    def first(self, wanted: Callable[[T], bool] | None) -> Lane[T] | None:
        """Whose turn it is of those that are wanted. Places that are passed over stay where they are."""
        while True:
            empty: list[Lane[T]] = []
            found = self._first_place(wanted, empty)
            for lane in empty:
                self._vacate(lane)
            if found is not None or not empty:  # else others may have got these places
                return found

    def end_turn(self, lane: Lane[T], wanted: Callable[[T], bool] | None) -> None:
        """Its place goes to the end, with the next lane of its source in it."""
        place, source = lane.place, lane.source
        lane.in_turn = False
        if source.waiting and (heir := self._first_of(source.waiting, wanted)) is not None:
            del source.waiting[heir.flow]
            source.waiting[lane.flow] = lane
            lane.place = 0
            self._sit(place, heir)
        self._places.move_to_end(place)

    def leave(self, lane: Lane[T]) -> None:
        """Its last item was taken in its turn: if it comes back, it begins at the end."""
        if lane.flow in self.lanes:
            self._vacate(lane)

    def clear(self) -> None:
        """Nobody waits, so nobody keeps a place."""
        self.lanes.clear()
        self._places.clear()
        self._sources.clear()

    def skip_rounds(self, in_vain: int, quantum: int, wanted: Callable[[T], bool] | None, least: int | None) -> None:
        """After some rounds in which nobody could pay, which were as many turns as there are lanes: give every lane the
        quanta of those that would follow. One item may cost a thousand quanta.
        """
        if in_vain * len(self._places) < len(self.lanes):
            return
        lines = self._lines(wanted)
        rounds = min(
            (index + (_turns(lane, quantum, least) - 1) * len(line)) // turns
            for turns, line in lines
            for index, lane in enumerate(line)
        )
        for turns, line in lines:
            each, more = divmod(max(rounds, 0) * turns, len(line))
            for index, lane in enumerate(line):
                lane.deficit += (each + (index < more)) * quantum
            if more:
                self._line_up([*line[more:], *line[:more]])

    def _first_place(self, wanted: Callable[[T], bool] | None, empty: list[Lane[T]]) -> Lane[T] | None:
        """Who sits in the first place of somebody that is wanted. Lanes before it that have nothing are `empty`."""
        unwanted: set[Source[T]] = set()  # no lane of theirs without a place is wanted
        for place, lane in self._places.items():
            source = lane.source
            if not lane.entries:
                empty.append(lane)
            elif (source.waiting or source.gave_way) and source not in unwanted:
                found = self._who_sits(lane, wanted)
                if found is not None:
                    if found is not lane:
                        self._change(place, lane, found)
                    return found
                unwanted.add(source)
            elif wanted is None or wanted(lane.first().item):
                return lane
        return None

    def _lines(self, wanted: Callable[[T], bool] | None) -> list[tuple[int, list[Lane[T]]]]:
        """The lanes that are wanted, in the order of their turns; and how many turns each line has in a round."""
        if len(self.lanes) == len(self._places):  # each has a turn
            every = [lane for lane in self._places.values() if lane.is_wanted(wanted)]
            return [(len(every), every)]
        sitting: dict[Source[T], list[Lane[T]]] = {}
        for lane in self._places.values():
            sitting.setdefault(lane.source, []).append(lane)
        lines: list[tuple[int, list[Lane[T]]]] = []
        for source, its in sitting.items():
            line = [
                lane for lane in (*source.gave_way.values(), *its, *source.waiting.values()) if lane.is_wanted(wanted)
            ]
            if line:
                lines.append((min(source.places, len(line)), line))
        return lines

    def _line_up(self, line: Sequence[Lane[T]]) -> None:
        """All lanes of a source that are wanted, more than it has places, have their turns in this order."""
        source = line[0].source
        sitting = [(place, lane) for place, lane in self._places.items() if lane.source is source]
        members = set(line)
        for lane in line:
            lane.place = 0
            source.gave_way.pop(lane.flow, None)
            source.waiting.pop(lane.flow, None)
        for (place, lane), heir in zip(sitting, line, strict=False):
            if lane in members:
                self._sit(place, heir)
            else:
                self._change(place, lane, heir)
        for lane in line[len(sitting) :]:
            source.waiting[lane.flow] = lane

    def _who_sits(self, lane: Lane[T], wanted: Callable[[T], bool] | None) -> Lane[T] | None:
        """Who should have the place of this lane: it, or one of its source without a place."""
        source = lane.source
        if source.gave_way and (first := self._first_of(source.gave_way, wanted)) is not None:
            return first
        return lane if lane.is_wanted(wanted) else self._first_of(source.waiting, wanted)

    def _first_of(self, lanes: OrderedDict[Flow, Lane[T]], wanted: Callable[[T], bool] | None) -> Lane[T] | None:
        """The first that is wanted. Those before it that have nothing are forgotten: their turn has come."""
        found: Lane[T] | None = None
        empty: list[Flow] = []
        for lane in lanes.values():
            if not lane.entries:
                empty.append(lane.flow)
            elif wanted is None or wanted(lane.first().item):
                found = lane
                break
        for flow in empty:
            del lanes[flow], self.lanes[flow]
        return found

    def _change(self, place: int, lane: Lane[T], other: Lane[T]) -> None:
        """The lane leaves its place to another one of its source."""
        source = lane.source
        source.gave_way.pop(other.flow, None)
        source.waiting.pop(other.flow, None)
        lane.place = 0
        source.gave_way[lane.flow] = lane
        self._sit(place, other)

    def _vacate(self, lane: Lane[T]) -> None:
        """The lane is forgotten. Its place goes to the end, with the next of its source in it, or is gone."""
        source, place = lane.source, lane.place
        del self.lanes[lane.flow]
        heir = self._first_of(source.waiting, None) or self._first_of(source.gave_way, None)
        if heir is not None:
            source.gave_way.pop(heir.flow, None)
            source.waiting.pop(heir.flow, None)
            self._sit(place, heir)
            self._places.move_to_end(place)
            return
        del self._places[place]
        source.places -= 1
        if not source.places:
            del self._sources[lane.flow.client]

    def _sit(self, place: int, lane: Lane[T]) -> None:
        self._places[place] = lane
        lane.place = place


def _turns(lane: Lane[T], quantum: int, least: int | None) -> int:
    """How many more turns it takes until the lane can pay for its first item, or for the least part of it."""
    return -((lane.deficit - (least or lane.first().cost)) // quantum)
