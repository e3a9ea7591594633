"""Watches the fairness of both queues of the core: frames that wait to be staged, and crops that wait for a batch.

Trap: cameras compete only for the same thing. Frames are compared between cameras that have used one and the same model
so far, and priorities of frames only until there is a second model. Crops are compared always, as each model has a
queue of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from reidstream_server.core.terms import ModelIndex, Priority, SchedulerLimits

from .books import Books, FrameBook, Lane, Violation
from .fairness import CameraFairness, Claims, PriorityFairness
from .situations import Situation


class Shares:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        scenario, limits = books.scenario, books.scenario.limits
        self._largest: Counter[Lane] = Counter()
        for client, lane in zip(scenario.clients, books.lanes, strict=True):
            for frame in client.frames:
                self._largest[lane] = max(self._largest[lane], len(frame.crops))
        self._models: dict[ModelIndex, _Watches] = {}
        self._frame_claims = Claims()
        self._frame_levels = PriorityFairness("frames", aging_ns=limits.aging_ns)

    @property
    def checks(self) -> int:
        """How many comparisons were made."""
        watches = self._models.values()
        return self._frame_levels.checks + sum(
            its.frames.checks + its.crops.checks + its.crop_levels.checks for its in watches
        )

    def step(self, queued: list[FrameBook], ready: Mapping[ModelIndex, list[FrameBook]], now: int) -> None:
        """After a step: the frames that wait to be staged, and, by model, those with crops ready."""
        staged, ran = self._books.staged_now, self._books.ran_now
        for index in self._books.there:
            if index not in self._models:
                self._models[index] = _Watches(index, self._books.scenario.limits, self._largest)
        self._queue(staged, queued, now)
        for index in self._books.there:
            self._batches(index, [frame for model, frame in ran if model == index], ready.get(index, []), now)

    def _queue(self, staged: list[FrameBook], queued: list[FrameBook], now: int) -> None:
        waits = _waits((frame, frame.queued_ns) for frame in queued)
        if all(since == now for since in waits.values()):  # the queue was empty meanwhile: nobody kept a place
            for index in self._books.there:
                self._models[index].frames.step({}, [])
        for index in self._books.there:
            served: Counter[Lane] = Counter()
            for frame in staged:
                if self._only_model(_lane(frame)) == index:
                    served[_lane(frame)] += frame.boxes
            waiting_for_it = [lane for lane in waits if self._only_model(lane) == index]
            self._models[index].frames.step(served, waiting_for_it)
        if len(self._books.models) == 1:
            levels = [(frame.client.lane.priority, frame.boxes) for frame in staged]
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
        levels = [(frame.client.lane.priority, 1) for frame in ran]
        lanes, waiting = {_lane(frame) for frame in ran}, {lane.priority for lane in waits}
        claims.grant(lanes, waits, now)
        self._books.seen[Situation.AGED_CROP] += watches.crop_levels.step(levels, waiting, claims, now)
        claims.claim(lanes, waits, self._fleeting(), now)

    def _only_model(self, lane: Lane) -> ModelIndex | None:
        """The model that all frames of a lane have needed so far; None if there are several."""
        models = self._books.lane_models.get(lane, ())
        return next(iter(models)) if len(models) == 1 else None

    def _fleeting(self) -> set[Lane]:
        """The lanes with frames that came into a queue in this step, and left it again."""
        return {_lane(frame) for frame in self._books.came_now if frame.resolved}

    def _lingered(self, model: ModelIndex, ran: list[FrameBook], claims: Claims, now: int) -> None:
        """A batch that is not full has waited for as long as was asked for."""
        limits = self._books.scenario.limits
        if len(ran) % self._books.models[model].plan.terms.max_batch == 0:
            return
        since = min(*(claims.earliest_ns(level, now) for level in Priority), *(frame.staged_ns for frame in ran))
        if now < since + limits.linger_ns:
            raise Violation("linger", f"a batch of model {model} that was not full waited for {now - since} ns only")


class _Watches:
    """What is watched of one model. `largest`: the frame of each lane with the most crops."""

    def __init__(self, model: ModelIndex, limits: SchedulerLimits, largest: Mapping[Lane, int]) -> None:
        quantum = limits.quantum_boxes
        self.frames = CameraFairness(f"frames of model {model}", quantum, largest)
        self.crops = CameraFairness(f"crops of model {model}", quantum, dict.fromkeys(largest, 1))
        self.crop_claims = Claims()
        self.crop_levels = PriorityFairness(f"crops of model {model}", aging_ns=limits.aging_ns)


def _lane(frame: FrameBook) -> Lane:
    return frame.client.lane


def _waits(frames: Iterable[tuple[FrameBook, int | None]]) -> dict[Lane, int]:
    """Since when the longest waiting frame of each lane waits."""
    waits: dict[Lane, int] = {}
    for frame, since in frames:
        if since is not None:
            lane = _lane(frame)
            waits[lane] = min(waits.get(lane, since), since)
    return waits
