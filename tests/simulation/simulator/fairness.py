"""Watches over what is shared: between cameras of one priority, and between priorities.

Between cameras: while two of them wait without a break, deficit round robin gives each, in k rounds, more than k
quanta less one item and less than k quanta plus one item, and they are never more than one round apart. So the
difference of what they got moves by no more than `quantum`, the one's largest item and the other's, whatever the
stretch. Crops are counted; frames are weighed by what they cost.

Between priorities: whoever waits longer than the aging time gets one box of every `AGED_SHARE`. After an aged item of
c boxes, `(AGED_SHARE - 1) * c` boxes go by priority, and then the next aged one, if there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from reidstream_server.core.terms import Priority

from .books import Lane, Violation
from .turns_rule import Crowds

AGED_SHARE = 8


class CameraFairness:
    """Compares what cameras get that wait without a break."""

    def __init__(self, name: str, quantum: int, largest: Mapping[Lane, int], crowds: Crowds) -> None:
        self._name = name
        self._crowds = crowds
        self._quantum = quantum
        self._largest = largest
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
        bound = self._quantum + self._largest[key[0]] + self._largest[key[1]]
        if high - low > bound:
            raise Violation(
                "fairness",
                f"{self._name}: while {key[0]} and {key[1]} both waited, their shares parted by {high - low} boxes; "
                f"the bound is {bound}",
            )

    def _are_equal(self, one: Lane, other: Lane) -> bool:
        """Whether they have as many turns: both have a turn of their own, or they share the same ones."""
        shares = self._crowds.shares_turns
        return one.flow.client == other.flow.client or not (shares(one) or shares(other))

    def _meet(self, waiting: list[Lane]) -> None:
        self._waiting = waiting
        old, self._pairs = self._pairs, {}
        for place, one in enumerate(waiting):
            for other in waiting[:place]:
                if one.priority is other.priority and self._are_equal(one, other):
                    key = (one, other) if (one, other) in old else (other, one)
                    difference = self._got[key[0]] - self._got[key[1]]
                    self._pairs[key] = old.get(key, (difference, difference))


class Claims:
    """Since when each camera has waited and got nothing, though its waiting frames may have been replaced.

    `earliest`: the earliest time that it may claim. `surely`: the time that it must be granted. Since then it had
    something waiting at every step, and so had somebody else; so the queue was never empty, and it kept its place.
    """

    def __init__(self) -> None:
        self._earliest: dict[Lane, int] = {}
        self._surely: dict[Lane, int] = {}

    def earliest_ns(self, level: Priority, now: int) -> int:
        """The oldest of a priority; now if there is none."""
        return min((since for lane, since in self._earliest.items() if lane.priority is level), default=now)

    def surely_aged(self, now: int, aging_ns: int) -> set[Priority]:
        """The priorities in which somebody must be granted that he is aged."""
        return {lane.priority for lane, since in self._surely.items() if now - since >= aging_ns}

    def grant(self, served: Collection[Lane], waiting: Mapping[Lane, int], now: int) -> None:
        """After a step: who got something, and since when the oldest item of each camera waits. Before `claim`."""
        stayed = [lane for lane, since in waiting.items() if since < now]
        granted: dict[Lane, int] = {}
        for lane, since in waiting.items():
            never_empty = since < now or any(other is not lane for other in stayed)
            kept = lane not in served and never_empty
            granted[lane] = self._surely.get(lane, since) if kept else since
        self._surely = granted

    def claim(
        self, served: Collection[Lane], waiting: Mapping[Lane, int], fleeting: Collection[Lane], now: int
    ) -> None:
        """The same, for what may be claimed at the next step. `fleeting` lanes had frames, given up at once."""
        for lane in served:
            self._earliest.pop(lane, None)
        if not waiting:
            self._earliest.clear()
            return
        for lane, since in waiting.items():
            self._earliest.setdefault(lane, since)
        for lane in fleeting:  # last: whoever has something older still waits since then
            self._earliest.setdefault(lane, now)


class PriorityFairness:
    """Who goes first of different priorities."""

    def __init__(self, name: str, *, aging_ns: int) -> None:
        self._name = name
        self._aging_ns = aging_ns
        self._owed = 0
        self.checks = 0

    def step(self, served: list[tuple[Priority, int]], waiting: Collection[Priority], claims: Claims, now: int) -> int:
        """One step's services, in order; returns how many were of a lower priority, out of turn.

        `waiting`: the priorities of which something waits after the step; it waited when others were served, too,
        because items come before any is served. `claims`: this step granted, and not yet claimed.
        """
        out_of_turn = 0
        aged = claims.surely_aged(now, self._aging_ns)
        for place, (level, boxes) in enumerate(served):
            self.checks += 1
            others = [*waiting, *(later for later, _ in served[place:])]
            if any(other.value > level.value for other in others):
                out_of_turn += 1
                if self._owed or now - claims.earliest_ns(level, now) < self._aging_ns:
                    raise Violation(
                        "priority", f"{self._name}: {level.name} went before a higher one, {self._owed} boxes early"
                    )
                self._owed = (AGED_SHARE - 1) * boxes
            elif not self._owed and any(other.value < level.value for other in aged):
                raise Violation(
                    "aging", f"{self._name}: {level.name} went before somebody who was aged, and whose turn it was"
                )
            else:
                self._owed = max(self._owed - boxes, 0)
        return out_of_turn
