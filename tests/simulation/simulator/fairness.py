"""Watches over what is shared: between cameras of one priority, and between priorities.

Between cameras: while two of them wait without a break, deficit round robin gives each, in k rounds, more than k
quanta less one item and less than k quanta plus one item, and they are never more than one round apart. So the
difference of what they got moves by no more than `quantum + 2 * largest`, whatever the stretch.

Between priorities: whoever waits longer than the aging time gets one box of every `AGED_SHARE`. After an aged item of
c boxes, at most `(AGED_SHARE - 1) * c` boxes, and the item that exceeds them, go before the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from reidstream_server.core.terms import Flow, Priority

from .books import Violation

AGED_SHARE = 8

Lane = tuple[Priority, Flow]
Waits = Mapping[Priority, int]


class CameraFairness:
    """Differences between cameras that wait without a break."""

    def __init__(self, name: str, *, bound: int) -> None:
        self._name = name
        self._bound = bound
        self._waiting: list[Lane] = []
        self._got: Counter[Lane] = Counter()
        self._pairs: dict[tuple[Lane, Lane], tuple[int, int]] = {}
        self.checks = 0

    def step(self, served: Mapping[Lane, int], waiting: list[Lane]) -> None:
        """What left the queue in a step, and who waits after it. Who waited before, too, waited all the while."""
        for lane, boxes in served.items():
            self._got[lane] += boxes
        if waiting != self._waiting:
            self._meet(waiting)
        for lane in served:
            for other in waiting:
                key = (lane, other) if (lane, other) in self._pairs else (other, lane)
                if key in self._pairs:
                    self._check(key)

    def _check(self, key: tuple[Lane, Lane]) -> None:
        self.checks += 1
        difference = self._got[key[0]] - self._got[key[1]]
        low, high = self._pairs[key]
        low, high = min(low, difference), max(high, difference)
        self._pairs[key] = low, high
        if high - low > self._bound:
            raise Violation(
                "fairness",
                f"{self._name}: while {key[0]} and {key[1]} both waited, one got {high - low} boxes more than the other; "
                f"the bound is {self._bound}",
            )

    def _meet(self, waiting: list[Lane]) -> None:
        self._waiting = waiting
        old, self._pairs = self._pairs, {}
        for place, one in enumerate(waiting):
            for other in waiting[:place]:
                if one[0] is other[0]:
                    key = (one, other) if (one, other) in old else (other, one)
                    difference = self._got[key[0]] - self._got[key[1]]
                    self._pairs[key] = old.get(key, (difference, difference))


class Claims:
    """Since when each camera has waited without getting anything, though what it has waiting may be replaced."""

    def __init__(self) -> None:
        self._since: dict[Lane, int] = {}

    def oldest_ns(self, level: Priority, now: int) -> int:
        """The oldest of a priority; now if there is none."""
        return min((since for (own, _), since in self._since.items() if own is level), default=now)

    def step(self, served: Iterable[Lane], waiting: Mapping[Lane, int]) -> None:
        """After a step: who got something, and since when the oldest item of each lane waits."""
        for lane in served:
            self._since.pop(lane, None)
        if not waiting:
            self._since.clear()
        for lane, since in waiting.items():
            self._since.setdefault(lane, since)


class PriorityFairness:
    """How much may go before somebody who waits too long."""

    def __init__(self, name: str, *, aging_ns: int, largest: int) -> None:
        self._name = name
        self._aging_ns = aging_ns
        self._bound = (AGED_SHARE + 1) * largest
        self._passed = 0
        self.checks = 0

    def step(self, served: list[tuple[Priority, int]], waits: Waits, claims: Claims, now: int) -> int:
        """One step's services, in order; returns how many were of a lower priority, out of turn.

        `waits`: since when the longest waiting item of each priority waits, after the step; whatever waits then,
        waited when others were served, because items come before any is served. `claims`: as they were before the
        step.
        """
        out_of_turn = 0
        aged = [level for level, since in waits.items() if since < now and now - since >= self._aging_ns]
        for place, (level, boxes) in enumerate(served):
            self.checks += 1
            others = [*waits, *(later for later, _ in served[place:])]
            if any(other.value > level.value for other in others):
                out_of_turn += 1
                self._passed = 0
                if now - claims.oldest_ns(level, now) < self._aging_ns:
                    raise Violation(
                        "priority", f"{self._name}: {level.name} went before a higher one, and was not aged"
                    )
            elif any(other.value < level.value for other in aged):
                self._passed += boxes
                if self._passed > self._bound:
                    raise Violation(
                        "aging",
                        f"{self._name}: {self._passed} boxes went before somebody who had waited for longer than "
                        f"{self._aging_ns / 1e6:g} ms; the bound is {self._bound}",
                    )
        if not aged:
            self._passed = 0
        return out_of_turn
