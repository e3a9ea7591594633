"""High priority is for the few: who has it, worked out a second time from what frames cost.

Of each source: what its frames that ask for the highest priority take of the machine, and what of it a quarter of the
time has paid. Until that is more than may be had at once, they have it; then they have the normal one, until all is
paid. The core's own decision is looked at only where frames of one source came into the queue in one step: nobody can
see in which order. Then some order must explain it: those that have it came first.

Trap: a frame that came in the very call that ended its session may have been queued before, or not. Of its source
nothing can be said from then on.
"""

from __future__ import annotations

from collections import defaultdict

from reidstream_server.core.state import Phase
from reidstream_server.core.terms import Priority

from .books import Books, FrameBook, Violation
from .situations import Situation

HIGH_PART = 4


class PrecedenceRule:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._most_ns = HIGH_PART * books.scenario.limits.high_at_once_ns
        self._paid_ns: defaultdict[str, int] = defaultdict(int)
        self._resting: set[str] = set()
        self._unknown: set[str] = set()
        self.checks = 0

    def step(self, now: int) -> None:
        """After a step: the frames that came into the queue in it get their lanes."""
        asked: defaultdict[str, list[FrameBook]] = defaultdict(list)
        for frame in self._books.frames.values():
            if frame.ranked or frame.plan.refused:
                continue
            terms = frame.client.plan.terms
            if frame.view is None:
                if frame.client.over:
                    self._unknown.add(terms.source)
            elif frame.view.phase is not Phase.PARKED:
                frame.ranked = True
                if terms.priority is Priority.HIGH:
                    asked[terms.source].append(frame)
                elif frame.view.priority is not terms.priority:
                    raise Violation("precedence", f"{frame} has the priority {frame.view.priority}")
        for source, frames in asked.items():
            self._decide(source, frames, now)

    def _decide(self, source: str, frames: list[FrameBook], now: int) -> None:
        books = self._books
        granted = [frame for frame in frames if frame.view is not None and frame.view.priority is Priority.HIGH]
        others = [frame for frame in frames if frame not in granted]
        for frame in others:
            if frame.view is None or frame.view.priority is not Priority.NORMAL:
                raise Violation("precedence", f"{frame} has no priority that it may have")
            frame.lane = frame.client.lanes[1]
        if source in self._unknown:
            return
        self.checks += 1
        debt = max(self._paid_ns[source] - now, 0)
        if not debt and source in self._resting:
            self._resting.remove(source)
            books.seen[Situation.HIGH_RESTED] += 1
        costs = [HIGH_PART * self._part_ns(frame) for frame in granted]
        after = debt + sum(costs)
        if granted and (source in self._resting or after - max(costs) > self._most_ns):
            raise Violation("precedence", f"{granted[-1]} goes first, though {source} has had too much of that")
        if others and source not in self._resting and after <= self._most_ns:
            raise Violation("precedence", f"{others[0]} does not go first, though {source} has had little of that")
        if after > self._most_ns:
            self._resting.add(source)
        elif others:
            after = max(after, min(after + sum(HIGH_PART * self._part_ns(frame) for frame in others), self._most_ns))
        self._paid_ns[source] = now + after
        books.seen[Situation.HIGH_SPENT] += bool(others)

    def _part_ns(self, frame: FrameBook) -> int:
        """What it takes of the machine."""
        cores = self._books.scenario.limits.cores
        part = frame.expected_ns // cores
        for index in set(frame.models):
            model = self._books.models[index]
            sharers = cores if model.plan.terms.cores else model.plan.terms.slots
            part += frame.models.count(index) * model.box_ns // sharers
        return part
