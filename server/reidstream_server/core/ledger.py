"""What every frame holds of the bounds, and that it gives all of it back.

Why apart from the events: a frame can end in a dozen ways (answered, dropped, over its budget, its session vanished,
its engine lost), and each must give back the same things exactly once. All of them use `resolve` and `settle`.

Trap: resolving is not releasing. Pixels are given back only when no batch looks at them and no decoder writes to them.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from .admission import Admission
from .delivery import Delivery
from .effects import Effect, Release
from .fair_queue import FairQueue
from .faults import REFUSED_FOR_ROOM, FrameFault
from .fleet import Fleet
from .precedence import Precedence
from .sources import ANSWERING_NS, Sources
from .staging import Staging
from .state import FrameState, Phase
from .statistics import SchedulerStatistics
from .terms import Bound, FrameKey, SchedulerLimits
from .timers import Timers

P = TypeVar("P")

TURN_NS_PER_BOX = 1_000_000
"""A camera's turn in the queue of frames that wait to be staged, for each box of its turn in a batch."""


class Ledger(Generic[P]):
    """Frames, the queue of those that wait, and what those that are staged hold. Not thread-safe.

    `batches`, `batch_cores`: the batches that take cores, and how many, without those of lost engines: nobody waits for
    what a lost engine still runs.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        fleet: Fleet[P],
        timers: Timers,
        admission: Admission[P],
        *,
        delivery: Delivery[P],
        sources: Sources[P],
    ) -> None:
        self.frames: dict[FrameKey, FrameState[P]] = {}
        quantum = limits.quantum_boxes * TURN_NS_PER_BOX
        self.waiting: FairQueue[FrameState[P]] = FairQueue(
            quantum=quantum, aging_ns=limits.aging_ns, most_turns=limits.max_source_turns
        )
        self.admission = admission
        self.staging: Staging[P] = Staging(limits, fleet, timers)
        self.batches = 0
        self.batch_cores = 0
        self._precedence: Precedence[P] = Precedence(limits, fleet)
        self._sources = sources
        self._waiting_heavy = 0
        self._limits = limits
        self._fleet = fleet
        self._batchers = fleet.batchers
        self._timers = timers
        self._delivery = delivery

    @property
    def wants_work(self) -> bool:
        """Whether one more staging or batch may begin.

        A core is free; or each of several cores has a piece of work. Then one more piece is given out: it begins on the
        core that is free next. Otherwise that core would be idle until the event loop has seen what it did. Not with
        one core, where the event loop works meanwhile, and the piece given too early delays what should go first.
        """
        busy, cores = self.staging.frames + self.batch_cores, self._limits.cores
        return busy < cores or busy == self.staging.frames + self.batches == cores > 1

    def batch_begins(self, cores: int) -> None:
        """It takes so many cores; 0: none of this machine's."""
        self.batches += cores > 0
        self.batch_cores += cores

    def batches_end(self, cores: int, count: int) -> None:
        """So many batches of a model end, or are given up."""
        self.batches -= count * (cores > 0)
        self.batch_cores -= count * cores

    def statistics(self, now: int, *, sessions: int, timers: int, paused_sources: int) -> SchedulerStatistics:
        """A snapshot of everything that is bounded or counted."""
        oldest, admission, staging = self.waiting.oldest_ns(), self.admission, self.staging
        return SchedulerStatistics(
            sessions=sessions,
            frames=len(self.frames),
            queue_boxes=admission.boxes,
            queue_bytes=admission.bytes,
            staged_bytes=staging.bytes,
            held_answer_bytes=admission.answer_bytes,
            staging_frames=staging.frames,
            aside_frames=staging.aside_frames,
            lost_stagings=staging.lost,
            queued_frames=len(self.waiting),
            parked_frames=admission.parked,
            parked_bytes=admission.parked_bytes,
            paused_sources=paused_sources,
            oldest_waiting_s=(now - oldest) / 1e9 if oldest is not None else 0.0,
            timers=timers,
            refusals={**dict.fromkeys(Bound, 0), **admission.refusals, Bound.STAGED: staging.refusals},
            models=tuple(batcher.statistics(index) for index, batcher in self._batchers.items()),
        )

    def queue(self, frame: FrameState[P], now: int) -> None:
        """Let an admitted frame wait to be staged."""
        frame.phase = Phase.QUEUED
        frame.priority = self._precedence.of(frame, now)
        flow = frame.session.terms.holder
        frame.queue_entry = self.waiting.push(frame, flow=flow, priority=frame.priority, cost=frame.cost_ns, now=now)
        self._waiting_heavy += frame.heavy

    def next_to_stage(self, now: int) -> FrameState[P] | None:
        """The next frame, in fair order, without which an engine would run dry; None if there is no slot or no room."""
        frame = None
        if len(self.waiting) > self._waiting_heavy and self.staging.takes(aside=False) and self.wants_work:
            frame = self._next(now, heavy=False)
        waits_heavy = self._waiting_heavy or (self._sources.any_slowed and self.waiting)
        if frame is None and waits_heavy and self.staging.takes(aside=True):
            frame = self._next(now, heavy=True)
        if frame is not None:
            self._waiting_heavy -= frame.heavy
            frame.heavy = frame.seems_heavy
            frame.queue_entry = None
            frame.phase = Phase.STAGING
            self.staging.begin(frame, now)
        return frame

    def _next(self, now: int, *, heavy: bool) -> FrameState[P] | None:
        hungry = {index for index, batcher in self._batchers.items() if batcher.hungry(aside=heavy)}
        if not hungry:
            return None
        return self.waiting.pop(
            now,
            wanted=lambda frame: frame.seems_heavy is heavy and not hungry.isdisjoint(frame.models),
            fits=self.staging.has_room,
        )

    def end_staging(self, key: FrameKey) -> FrameState[P] | None:
        """The frame is no longer being staged; None if it was not."""
        frame = self.frames.get(key)
        if frame is None or not self.staging.end(frame):
            return None
        self.admission.release_bytes(frame)
        return frame

    def resolve(
        self, frame: FrameState[P], fault: FrameFault | None, effects: list[Effect[P]], *, keep_place: bool = False
    ) -> None:
        """Decide the frame's answer, and take it out of every queue. `keep_place`: its session keeps its place in
        parking.
        """
        if frame.resolved:
            return
        session = frame.session
        frame.resolved = True
        frame.fault = fault
        self._timers.cancel(frame.budget_timer)
        if frame.queue_entry is not None:
            self._waiting_heavy -= frame.heavy
            self.waiting.cancel(frame.queue_entry)
            frame.queue_entry = None
        refused = fault is not None and fault.reason in REFUSED_FOR_ROOM  # its source is charged at once
        if not frame.started and frame.reading_ns and not refused:
            answering_ns = ANSWERING_NS if fault is not None and not session.gone else 0
            self._sources.read_in_vain(session.terms.source, frame.reading_ns + answering_ns)
        for model, entry in frame.crop_entries:
            self._batchers[model].cancel(entry)
        frame.crop_entries.clear()  # with queue_entry: a cycle would keep the pixels until the next full collection
        for model in frame.models:
            self._batchers[model].cancel_alone(frame)
        if session.parked is frame:
            self.admission.give_up_parked(session)
            if not keep_place:
                self.admission.unpark(session)
        self.admission.release_boxes(frame)
        if not frame.being_staged:
            self.admission.release_bytes(frame)
        if fault is not None and frame.holds_window:  # a frame given up makes room for the next at once
            frame.holds_window = False
            session.window_frames -= 1
            session.window_bytes -= frame.request.message_bytes
        session.resolved.append(frame)
        self._delivery.touch(session)
        self.settle(frame, effects)

    def settle(self, frame: FrameState[P], effects: list[Effect[P]]) -> None:
        """Resolve a frame if all its crops are decided; let go of it if nothing works on it any more."""
        if not frame.resolved:
            if not frame.open_crops:
                self.resolve(frame, None, effects)
            return
        if frame.running_crops or frame.being_staged:
            return
        self.staging.let_go(frame)
        if self.frames.pop(frame.key, None) is None:
            return
        self._fleet.leave(frame.models)
        if frame.fault is not None:
            self.admission.release_answer(frame)
        if frame.payload is not None:  # also if it never was staged: its answer may wait long for its turn
            effects.append(Release(payload=frame.payload, vectors=frame.fault is not None))
