"""High priority is for the few: a source's frames have it only while those that ask for it take a small part of the
time.

Why: everybody may ask for the highest priority, for all his cameras, and would be served before all others. So what a
source's frames of that priority take is a *debt*, of which one part in `HIGH_PART` of the time that passes pays. Once
the debt is more than is allowed at once, its frames have normal priority, until all is paid: the source has rested.
These frames go on adding to the debt, so who asks for too much all the time never has it, and its frames are not
served in turns of both priorities, out of their order. But they add no more than is allowed at once, so a rest is
short. A source that has rested may send a frame of any size, and pays for all of it.

What a frame takes is its part of the machine: the time of a core among all cores, and of a device among its slots.

Trap: a source that leaves takes its debt along, or it would come back without it. So it is forgotten only when it has
paid.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from .fleet import Fleet
from .state import FrameState
from .terms import Priority, SchedulerLimits

P = TypeVar("P")

HIGH_PART = 4
"""One part in so many of the machine's time is for a source's frames of high priority."""

MOST_SOURCES = 4096
"""So many sources are remembered; then the one that has sent nothing for longest is forgotten."""


@dataclass(slots=True, eq=False)
class _Use:
    """Of high priority, by one source. `paid_ns`: when it will have paid. `spent`: it has to rest until then."""

    paid_ns: int = 0
    spent: bool = False


class Precedence(Generic[P]):
    """Not thread-safe."""

    def __init__(self, limits: SchedulerLimits, fleet: Fleet[P]) -> None:
        self._cores = limits.cores
        self._at_once_ns = limits.high_at_once_ns
        self._batchers = fleet.batchers
        self._uses: OrderedDict[str, _Use] = OrderedDict()  # who has sent nothing for longest comes first

    def __len__(self) -> int:
        return len(self._uses)

    def of(self, frame: FrameState[P], now: int) -> Priority:
        """The priority that a frame has from now on. Asked once, when it is queued."""
        asked = frame.session.terms.priority
        if asked is not Priority.HIGH:
            return asked
        use = self._use_of(frame.session.terms.source, now)
        debt_ns = max(use.paid_ns - now, 0)
        if not debt_ns:
            use.spent = False
        granted, most_ns = not use.spent, HIGH_PART * self._at_once_ns
        after_ns = debt_ns + HIGH_PART * self._part_ns(frame)
        if not granted:
            after_ns = max(debt_ns, min(after_ns, most_ns))
        use.paid_ns = now + after_ns
        use.spent |= after_ns > most_ns
        return Priority.HIGH if granted else Priority.NORMAL

    def _use_of(self, source: str, now: int) -> _Use:
        uses = self._uses
        while uses and (next(iter(uses.values())).paid_ns <= now or len(uses) > MOST_SOURCES):
            uses.popitem(last=False)
        use = uses.setdefault(source, _Use())
        uses.move_to_end(source)
        return use

    def _part_ns(self, frame: FrameState[P]) -> int:
        """How long it would keep all of the machine busy."""
        part_ns = frame.expected_staging_ns // self._cores
        for model in frame.models:
            batcher = self._batchers[model]
            crops_ns = frame.request.crops.count(model) * batcher.box_ns
            part_ns += crops_ns // (self._cores if batcher.terms.cores else batcher.terms.slots)
        return part_ns
