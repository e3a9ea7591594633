"""A source with more cameras than turns has no more than its turns, and no camera waits for ever behind the others.

While a camera waits, any source has at most `most` turns between two of that camera's turns. A camera whose source has
more cameras than turns shares them with the others: it waits for as many rounds as it takes until all have had theirs,
and one more. So what a source got, less so many times what the camera got, grows by no more than a bound, whatever the
stretch. As between cameras, what is saved up of earlier turns may come on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from reidstream_server.core.terms import Priority

from .books import Books, Lane, Violation

Crowd: TypeAlias = tuple[Priority, str]
"""The cameras of a source at one priority."""


def crowd_of(lane: Lane) -> Crowd:
    """Who shares the turns."""
    return lane.priority, lane.flow.client


class Crowds:
    """How many cameras each source has at each priority, whenever they come. `most`: turns of a source in a round."""

    def __init__(self, books: Books) -> None:
        self.most = books.scenario.limits.max_source_turns
        self._sizes = Counter(crowd_of(lane) for lane in {lane for lanes in books.lanes for lane in lanes})

    def turns(self, crowd: Crowd) -> int:
        """How many turns they have in a round."""
        return min(self.most, self._sizes[crowd])

    def shares_turns(self, lane: Lane) -> bool:
        """Whether its source has more cameras than turns."""
        return self._sizes[crowd_of(lane)] > self.most

    def any_too_many(self, lanes: Iterable[Lane]) -> bool:
        """Whether these are more of one crowd than it has turns."""
        return max(Counter(map(crowd_of, lanes)).values(), default=0) > self.most

    def rounds(self, lane: Lane) -> int:
        """In how many rounds it has a turn at least."""
        return -(-self._sizes[crowd_of(lane)] // self.most) + 1 if self.shares_turns(lane) else 1


class SourceTurns:
    """Compares what sources get with what each waiting camera gets. `largest`: the largest item of each lane so far."""

    def __init__(self, name: str, quantum: int, largest: Mapping[Lane, int], crowds: Crowds) -> None:
        self._name = name
        self._quantum = quantum
        self._largest = largest
        self._crowds = crowds
        self._lanes: dict[Crowd, set[Lane]] = {}
        self._got: Counter[Crowd] = Counter()
        self._got_alone: Counter[Lane] = Counter()
        self._lowest: dict[Lane, dict[Crowd, int]] = {}
        self.checks = 0

    def step(self, served: Mapping[Lane, int], waiting: list[Lane]) -> None:
        """What left the queue in a step, and who waits after it."""
        for lane, amount in served.items():
            self._got_alone[lane] += amount
            self._got[crowd_of(lane)] += amount
            self._lanes.setdefault(crowd_of(lane), set()).add(lane)
        old, self._lowest = self._lowest, {}
        for lane in waiting:
            lowest = self._lowest[lane] = old.get(lane, {})
            for crowd, got in self._got.items():
                if crowd[0] is lane.priority and crowd[1] != lane.flow.client:
                    turns = self._crowds.turns(crowd) * self._crowds.rounds(lane)
                    ahead = got - turns * self._got_alone[lane]
                    lowest[crowd] = min(lowest.get(crowd, ahead), ahead)
                    self._check(lane, crowd, ahead - lowest[crowd], turns)

    def _check(self, lane: Lane, crowd: Crowd, grown: int, turns: int) -> None:
        self.checks += 1
        saved = sum(self._largest[other] for other in self._lanes[crowd])
        bound = turns * (self._largest[lane] + 2 * self._quantum) + saved + self._quantum
        if grown > bound:
            raise Violation(
                "turns",
                f"{self._name}: while {lane} waited, {crowd[1]} got {grown} more than {turns} times as much; "
                f"the bound is {bound}",
            )
