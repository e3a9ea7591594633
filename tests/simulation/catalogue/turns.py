"""Faults in who goes first: the order of answers, fairness between cameras and between priorities."""

from __future__ import annotations

from tests.simulation.planting import Mutant

TURNS = (
    # Answers.
    Mutant(
        name="in order, the youngest decided frame is answered",
        module="delivery",
        old="                    session.open_frames.popitem(last=False)\n                    due.append(first)",
        new="                    due.append(session.open_frames.popitem()[1])",
    ),
    Mutant(
        name="as completed, answers wait for older ones",
        module="delivery",
        old="                due.extend(session.resolved)\n",
        new="                due.extend(f for f in session.resolved if f.key == min(session.open_frames))\n",
    ),
    Mutant(
        name="a slow client is taken for one that does not read",
        module="delivery",
        old="        session.stalled_since_ns = now\n        if not",
        new="        if not",
        found_by=2,
    ),
    Mutant(
        name="a client that does not read is never given up",
        module="delivery",
        old="        session.stall_timer = self._timers.add(due, TimerKind.STALL, session.key)\n",
        new="",
        found_by=2,
    ),
    Mutant(
        name="a session ends before its last answer is taken",
        module="state",
        old="not self.open_frames and not self.unwritten",
        new="not self.open_frames",
        found_by=2,
    ),
    Mutant(
        name="undecodable crops count as embedded",
        module="inference",
        old="frame.outcomes[index] = CropOutcome.INVALID_IMAGE",
        new="frame.outcomes[index] = CropOutcome.EMBEDDED",
    ),
    Mutant(
        name="undecodable crops are waited for",
        module="inference",
        old="CropOutcome.INVALID_IMAGE\n                frame.open_crops -= 1",
        new="CropOutcome.INVALID_IMAGE",
    ),
    # Fairness.
    Mutant(
        name="lower priorities never age",
        module="fair_queue",
        old="return aged if now - aged.oldest_ns() >= self._aging_ns else None",
        new="return None",
        found_by=1,
    ),
    Mutant(
        name="aged items go first without a limit",
        module="fair_queue",
        old="(AGED_SHARE - 1) * boxes if aged",
        new="0 if aged",
        found_by=1,
    ),
    Mutant(
        name="the aged share is counted in items, not in boxes",
        module="fair_queue",
        old="(AGED_SHARE - 1) * boxes if aged",
        new="(AGED_SHARE - 1) * 24 if aged",
        found_by=11,
    ),
    Mutant(
        name="low priority first",
        module="fair_queue",
        old="(Priority.HIGH, Priority.NORMAL, Priority.LOW)",
        new="(Priority.LOW, Priority.NORMAL, Priority.HIGH)",
    ),
    Mutant(
        name="turns cost nothing",
        module="lanes",
        old="        lane.deficit -= boxes\n        self.begun -= boxes\n        self.purse -= boxes\n",
        new="",
        found_by=1,
    ),
    Mutant(
        name="a turn is one item, whatever its size",
        module="fair_queue",
        old="        lane.source.spend(lane, boxes)\n",
        new="        lane.source.spend(lane, boxes)\n        lane.source.end_turn(lane)\n",
        found_by=7,
    ),
    Mutant(
        name="a camera that replaces its frame loses its turn",
        module="fair_queue",
        old="        if not self._count:  # nobody",
        new=(
            "        if not lane.entries and lane.place:\n"
            "            self._levels[lane.priority].leave(lane)\n"
            "        if not self._count:  # nobody"
        ),
        found_by=239,
    ),
    Mutant(
        name="a camera that replaces its frame is as young as that",
        module="fair_queue",
        old="        self._made += 1\n",
        new="        if not lane.entries:\n            lane.waits_since_ns = now\n        self._made += 1\n",
        found_by=15,
    ),
    Mutant(
        name="an aged camera gets all its boxes at once",
        module="fair_queue",
        old="            boxes = 1\n",
        new="            boxes = min(most, entry.cost, entry.lane.deficit)\n",
        found_by=8,
    ),
    Mutant(
        name="a turn in parts is paid for once",
        module="fair_queue",
        old="boxes = min(most, entry.cost, entry.lane.deficit, entry.lane.source.purse)",
        new="boxes = min(most, entry.cost)",
        found_by=42,
    ),
    Mutant(
        name="more boxes go by priority than are owed",
        module="fair_queue",
        old="            boxes = min(boxes, self._owed)\n",
        new="            pass\n",
        found_by=485,
    ),
    Mutant(
        name="what is left of an item is taken for a whole one",
        module="fair_queue",
        old="            entry.cost -= boxes\n",
        new="",
    ),
    Mutant(
        name="a part of a frame's crops goes twice",
        module="batcher",
        old="crops.indices.popleft() for _ in range(boxes)",
        new="crops.indices[place] for place in range(boxes)",
    ),
)
