"""Whose turn it is, of the lanes of one priority. See `lanes` for how those of one source share its places.

Why places, and not sources: a source with eight cameras has eight turns in a round, each after somebody else's, and not
one that is eight times as long. When a place's turn comes, it is *opened*, and the first lane of the source's line has
it. When that lane's turn is over, the place goes to the end of the ring.

Traps: a place whose source has nothing that is wanted is passed over and stays where it is. So is one whose source's
next lane has had its turn in another place: nobody has two turns in a round, though it were the only one of its source
that is wanted. And a lane may be able to pay for its item although its source cannot: then the place goes to the end,
and the lane goes on with its turn in the next place of its source.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from .lanes import Entry, Lane, Place, Source
from .rounds import skip_rounds
from .terms import Flow, Priority

T = TypeVar("T")


class Ring(Generic[T]):
    """The lanes of one priority. `most`: the places of one source. `count`: of all items. Not thread-safe."""

    def __init__(self, priority: Priority, *, quantum: int, most: int) -> None:
        self.count = 0
        self.lanes: dict[Flow, Lane[T]] = {}
        self._priority = priority
        self._quantum = quantum
        self._most = most
        self._places: OrderedDict[Place[T], None] = OrderedDict()
        self._sources: dict[str, Source[T]] = {}
        self._known_oldest_ns: int | None = None

    def lane(self, flow: Flow, now: int) -> Lane[T]:
        """The lane of the flow; a new one begins at the end."""
        lane = self.lanes.get(flow)
        if lane is None:
            source = self._sources.get(flow.client)
            if source is None:
                source = self._sources[flow.client] = Source(self._quantum)
            lane = self.lanes[flow] = source.line[flow] = Lane(self._priority, flow, source, now)
            if source.places < self._most:
                source.places += 1
                place = Place(source)
                place.seat(lane)
                self._places[place] = None
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

    def next_entry(self, wanted: Callable[[T], bool] | None, *, least: int | None = None) -> Entry[T] | None:
        """The item whose turn it is, of those that are wanted. It stays here. Its lane and its source can pay for
        `least` boxes of it; None: for all of them.
        """
        began: Place[T] | None = None
        in_vain = 0
        while (found := self._find(wanted)) is not None:
            if found[0] is began:
                in_vain += 1
                if in_vain * len(self._places) >= len(self.lanes):  # it looks at all lanes
                    skip_rounds(self._places, self._sources.values(), wanted, least)
                    found = self._find(wanted) or found
            place, lane = found
            began = began or place
            source, entry = place.source, lane.first()
            self._open(place)
            place.seat(lane)
            if not lane.in_turn:
                source.begin_turn(lane)
            cost = least or entry.cost
            if cost > lane.deficit:
                source.end_turn(lane)
                if not source.has_turn_left:
                    self._close(place)
            elif cost > source.purse:
                place.clear()
                self._close(place)
            else:
                return entry
        return None

    def leave(self, lane: Lane[T]) -> None:
        """It has no items, and its turn has come or was its last: if it comes back, it begins at the end."""
        if lane.flow not in self.lanes:
            return
        source, place = lane.source, lane.place
        del self.lanes[lane.flow]
        source.forget(lane)
        lane.in_turn = False
        if place is not None:
            place.clear()
        if len(source.line) < source.places:
            del self._places[place or self._last_free(source)]
            source.places -= 1
            if not source.places:
                del self._sources[lane.flow.client]
        elif place is not None and not (place.open and source.has_turn_left):
            self._close(place)

    def clear(self) -> None:
        """Nobody waits, so nobody keeps a place."""
        self.lanes.clear()
        self._places.clear()
        self._sources.clear()

    def _find(self, wanted: Callable[[T], bool] | None) -> tuple[Place[T], Lane[T]] | None:
        """The first place of somebody that is wanted, and who has the turn there."""
        while True:
            empty: list[Lane[T]] = []
            over: list[Place[T]] = []
            found = self._first_place(wanted, empty, over)
            for lane in empty:
                self.leave(lane)
            for place in over:
                place.source.keep_one_turn()
                self._close(place)
            if found is not None or not (empty or over):  # else others may have these places
                return found

    def _first_place(
        self, wanted: Callable[[T], bool] | None, empty: list[Lane[T]], over: list[Place[T]]
    ) -> tuple[Place[T], Lane[T]] | None:
        """The same, but of those before it, lanes that have nothing are `empty`, and places whose turn is `over`
        because all that could have it had theirs.
        """
        firsts: dict[Source[T], Lane[T] | None] = {}
        for place in self._places:
            source = place.source
            if place.lane is not None and not place.lane.entries:
                empty.append(place.lane)
                continue
            if source not in firsts:
                firsts[source] = source.first(wanted, empty)
            lane = firsts[source]
            if lane is None or lane.place not in (None, place):
                continue
            if place.open and lane.place is place and not lane.in_turn:
                over.append(place)
                continue
            return place, lane
        return None

    def _open(self, place: Place[T]) -> None:
        if not place.open:
            place.open = True
            place.source.purse += self._quantum

    def _close(self, place: Place[T]) -> None:
        place.open = False
        self._places.move_to_end(place)

    def _last_free(self, source: Source[T]) -> Place[T]:
        return next(place for place in reversed(self._places) if place.source is source and place.lane is None)
