"""Faults in the bounds of turns and of high priority: what a source gets that has many cameras, or asks for much."""

from __future__ import annotations

from tests.simulation.planting import Mutant

SHARING = (
    # Turns of a source.
    Mutant(
        name="every camera has a turn of its own",
        module="lanes",
        old="            if source.places < self._most:\n",
        new="            if source.places >= 0:\n",
        found_by=175,
    ),
    Mutant(
        name="a source has one turn too many",
        module="lanes",
        old="            if source.places < self._most:\n",
        new="            if source.places <= self._most:\n",
        found_by=211,
    ),
    Mutant(
        name="a camera keeps its turn while others of its source wait for one",
        module="lanes",
        old="        if source.waiting and (heir := self._first_of(source.waiting, wanted)) is not None:\n",
        new="        if source.gave_way and (heir := self._first_of(source.waiting, wanted)) is not None:\n",
        found_by=1,
    ),
    Mutant(
        name="a source keeps the place in the ring when its next camera has the turn",
        module="lanes",
        old="            self._sit(place, heir)\n        self._places.move_to_end(place)\n",
        new="            self._sit(place, heir)\n            return\n        self._places.move_to_end(place)\n",
        found_by=34,
    ),
    Mutant(
        name="the next camera of a source does not get the turn of one that left",
        module="lanes",
        old="        heir = self._first_of(source.waiting, None) or self._first_of(source.gave_way, None)\n",
        new="        heir = self._first_of(source.gave_way, None)\n",
        found_by=1,
    ),
    Mutant(
        name="a camera that is not wanted keeps its place, and its source is blocked",
        module="lanes",
        old="        return lane if lane.is_wanted(wanted) else self._first_of(source.waiting, wanted)\n",
        new="        return lane if lane.is_wanted(wanted) else None\n",
        found_by=1,
    ),
    Mutant(
        name="who gave way is not looked at again",
        module="lanes",
        old="        if source.gave_way and (first := self._first_of(source.gave_way, wanted)) is not None:\n",
        new="        if source.gave_way and (first := self._first_of(source.waiting, wanted)) is not None:\n",
        found_by=1,
    ),
    Mutant(
        name="rounds are skipped as if each camera had a turn in them",
        module="lanes",
        old="            each, more = divmod(max(rounds, 0) * turns, len(line))\n",
        new="            each, more = max(rounds, 0), 0\n",
        found_by=55,
    ),
    # High priority.
    Mutant(
        name="high priority without a bound",
        module="precedence",
        old="        granted, most_ns = not use.spent,",
        new="        granted, most_ns = True,",
        found_by=1,
    ),
    Mutant(
        name="who has high priority does not pay for it",
        module="precedence",
        old="        after_ns = debt_ns + HIGH_PART * self._part_ns(frame)\n",
        new="        after_ns = debt_ns + self._part_ns(frame)\n",
        found_by=1,
    ),
    Mutant(
        name="who had too much has high priority again before all is paid",
        module="precedence",
        old="        if not debt_ns:\n",
        new="        if debt_ns <= HIGH_PART * self._at_once_ns // 2:\n",
        found_by=1,
    ),
    Mutant(
        name="who had too much never has high priority again",
        module="precedence",
        old="            after_ns = max(debt_ns, min(after_ns, most_ns))\n",
        new="            pass\n",
        found_by=1,
    ),
    Mutant(
        name="frames that are not granted high priority cost nothing",
        module="precedence",
        old="            after_ns = max(debt_ns, min(after_ns, most_ns))\n",
        new="            after_ns = debt_ns\n",
        found_by=1,
    ),
    Mutant(
        name="all cameras' high priority is one",
        module="precedence",
        old="self._use_of(frame.session.terms.source, now)",
        new='self._use_of("", now)',
        found_by=1,
    ),
    Mutant(
        name="crops have the priority that was asked for",
        module="batcher",
        old="priority=frame.priority,",
        new="priority=frame.session.terms.priority,",
        found_by=1,
    ),
    Mutant(
        name="frames are staged by the priority that was asked for",
        module="ledger",
        old="flow=flow, priority=frame.priority,",
        new="flow=flow, priority=frame.session.terms.priority,",
        found_by=1,
    ),
    Mutant(
        name="a device's time counts like that of all cores",
        module="precedence",
        old="(self._cores if batcher.terms.cores else batcher.terms.slots)",
        new="self._cores",
        found_by=55,
    ),
)
