"""Watches the fairness of both queues of the core: frames that wait to be staged, and crops that wait for a batch.

Trap: cameras compete only for the same thing. Frames are compared between cameras that have used one and the same model
so far, and light ones apart from heavy ones; priorities of frames only until there is a second model or a heavy frame.
Crops are compared always, as each model has a queue of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from reidstream_server.core.terms import ModelIndex, Priority, SchedulerLimits

from .books import Books, FrameBook, Lane, Violation
from .fairness import CameraFairness, Claims, PriorityFairness
from .plan import MS
from .situations import Situation
from .turns_rule import Crowds, SourceTurns

TURN_NS_PER_BOX = MS


class Shares:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        limits = books.scenario.limits
        self._costliest: Counter[Lane] = Counter()
        self._crowds = Crowds(books)
        self._models: dict[ModelIndex, _Watches] = {}
        self._frame_claims = Claims()
        self._frame_levels = PriorityFairness("frames", aging_ns=limits.aging_ns)

    @property
    def checks(self) -> int:
        """How many comparisons were made."""
        watches = self._models.values()
        frames = sum(
            watch.checks for its in watches for kind in (its.frames, its.frame_turns) for watch in kind.values()
        )
        crops = sum(its.crops.checks + its.crop_turns.checks + its.crop_levels.checks for its in watches)
        return frames + crops + self._frame_levels.checks

    def step(self, queued: list[FrameBook], ready: Mapping[ModelIndex, list[FrameBook]], now: int) -> None:
        """After a step: the frames that wait to be staged, and, by model, those with crops ready."""
        staged, ran = self._books.staged_now, self._books.ran_now
        for index in self._books.there:
            if index not in self._models:
                self._models[index] = _Watches(index, self._books.scenario.limits, self._costliest, self._crowds)
        for frame in queued:
            lane = _lane(frame)
            self._costliest[lane] = max(self._costliest[lane], frame.cost_ns)
        self._queue(staged, queued, now)
        for index in self._books.there:
            self._batches(index, [frame for model, frame in ran if model == index], ready.get(index, []), now)

    def _queue(self, staged: list[FrameBook], queued: list[FrameBook], now: int) -> None:
        waits = _waits((frame, frame.queued_ns) for frame in queued)
        if all(since == now for since in waits.values()):  # the queue was empty meanwhile: nobody kept a place
            for index in self._books.there:
                watches = self._models[index]
                for heavy in (False, True):
                    watches.frames[heavy].step({}, [])
                    watches.frame_turns[heavy].step({}, [])
        for index in self._books.there:
            for heavy, watch in self._models[index].frames.items():
                served: Counter[Lane] = Counter()
                for frame in staged:
                    if self._compete_for(_lane(frame)) == (index, heavy):
                        served[_lane(frame)] += frame.cost_ns
                competing = [lane for lane in waits if self._compete_for(lane) == (index, heavy)]
                watch.step(served, competing)
                self._models[index].frame_turns[heavy].step(served, competing)
        light = not any(True in client.classes for client in self._books.clients.values())
        if len(self._books.models) == 1 and light and not self._books.accounts.ever_slowed:
            levels = [(frame.lane.priority, frame.cost_ns) for frame in staged]
            lanes, claims = {_lane(frame) for frame in staged}, self._frame_claims
            claims.grant(lanes, waits, now)
            waiting = {lane.priority for lane in waits}
            self._books.seen[Situation.AGED_FRAME] += self._frame_levels.step(levels, waiting, claims, now)
            claims.claim(lanes, waits, self._fleeting(), now)

    def _batches(self, model: ModelIndex, ran: list[FrameBook], ready: list[FrameBook], now: int) -> None:
        waits = _waits((frame, frame.staged_ns) for frame in ready)
        watches = self._models[model]
        claims = watches.crop_claims
        if ran:
            self._lingered(model, ran, claims, now)
        watches.crops.step(Counter(map(_lane, ran)), list(waits))
        watches.crop_turns.step(Counter(map(_lane, ran)), list(waits))
        self._books.seen[Situation.TURNS_SHARED] += self._crowds.any_too_many(waits)
        levels = [(frame.lane.priority, 1) for frame in ran]
        lanes, waiting = {_lane(frame) for frame in ran}, {lane.priority for lane in waits}
        claims.grant(lanes, waits, now)
        self._books.seen[Situation.AGED_CROP] += watches.crop_levels.step(levels, waiting, claims, now)
        claims.claim(lanes, waits, self._fleeting(), now)

    def _compete_for(self, lane: Lane) -> tuple[ModelIndex, bool] | None:
        """The model that all frames of a lane have needed so far, and whether all were heavy; None if they differ."""
        models = self._books.lane_models.get(lane, ())
        if any(
            lane in client.lanes and client.plan.terms.source in self._books.accounts.ever_slowed
            for client in self._books.clients.values()
        ):
            return None
        classes = {heavy for client in self._books.clients.values() if lane in client.lanes for heavy in client.classes}
        return (next(iter(models)), classes.pop()) if len(models) == len(classes) == 1 else None

    def _fleeting(self) -> set[Lane]:
        """The lanes with frames that came into a queue in this step, and left it again."""
        return {lane for frame in self._books.came_now if frame.resolved for lane in frame.client.lanes}

    def _lingered(self, model: ModelIndex, ran: list[FrameBook], claims: Claims, now: int) -> None:
        """A batch that is not full has waited for as long as was asked for."""
        limits = self._books.scenario.limits
        if len(ran) % self._books.models[model].plan.terms.max_batch == 0:
            return
        since = min(*(claims.earliest_ns(level, now) for level in Priority), *(frame.staged_ns for frame in ran))
        if now < since + limits.linger_ns:
            raise Violation("linger", f"a batch of model {model} that was not full waited for {now - since} ns only")


class _Watches:
    """What is watched of one model; of frames, heavy ones apart. `costliest`: what the costliest frame of each lane has
    cost so far.
    """

    def __init__(
        self, model: ModelIndex, limits: SchedulerLimits, costliest: Mapping[Lane, int], crowds: Crowds
    ) -> None:
        quantum, turn_ns = limits.quantum_boxes, limits.quantum_boxes * TURN_NS_PER_BOX
        self.frames = {
            False: CameraFairness(f"frames of model {model}", turn_ns, costliest, crowds),
            True: CameraFairness(f"heavy frames of model {model}", turn_ns, costliest, crowds),
        }
        self.frame_turns = {
            heavy: SourceTurns(f"{'heavy ' * heavy}frames of model {model}", turn_ns, costliest, crowds)
            for heavy in (False, True)
        }
        ones: Mapping[Lane, int] = defaultdict(lambda: 1)
        self.crops = CameraFairness(f"crops of model {model}", quantum, ones, crowds)
        self.crop_turns = SourceTurns(f"crops of model {model}", quantum, ones, crowds)
        self.crop_claims = Claims()
        self.crop_levels = PriorityFairness(f"crops of model {model}", aging_ns=limits.aging_ns)


def _lane(frame: FrameBook) -> Lane:
    return frame.lane


def _waits(frames: Iterable[tuple[FrameBook, int | None]]) -> dict[Lane, int]:
    """Since when the longest waiting frame of each lane waits."""
    waits: dict[Lane, int] = {}
    for frame, since in frames:
        if since is not None:
            lane = _lane(frame)
            waits[lane] = min(waits.get(lane, since), since)
    return waits
