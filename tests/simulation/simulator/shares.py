"""Applies the watches over fairness to both queues of the core: frames that wait to be staged, and crops that wait for
a batch.

Trap: cameras compete only for the same thing. Frames are compared between cameras that use one and the same model, and
priorities of frames only where there is one model; crops are compared always, as each model has a queue of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reidstream_server.core.terms import ModelIndex, Priority

from .books import Books, FrameBook, Lane, Violation
from .fairness import CameraFairness, Claims, PriorityFairness
from .situations import Situation


class Shares:
    """See the module."""

    def __init__(self, books: Books) -> None:
        self._books = books
        scenario, limits = books.scenario, books.scenario.limits
        models = [ModelIndex(index) for index in range(len(limits.models))]
        used: dict[Lane, set[ModelIndex]] = {}
        largest: Counter[Lane] = Counter()
        for client, lane in zip(scenario.clients, books.lanes, strict=True):
            for frame in client.frames:
                used.setdefault(lane, set()).update(frame.crops)
                largest[lane] = max(largest[lane], len(frame.crops))
        self._single = {lane: next(iter(of)) for lane, of in used.items() if len(of) == 1}
        quantum, ones = limits.quantum_boxes, dict.fromkeys(largest, 1)
        self._frames = [CameraFairness(f"frames of model {model}", quantum, largest) for model in models]
        self._crops = [CameraFairness(f"crops of model {model}", quantum, ones) for model in models]
        self._frame_claims = Claims()
        self._crop_claims = [Claims() for _ in models]
        self._frame_levels = PriorityFairness("frames", aging_ns=limits.aging_ns)
        self._crop_levels = [PriorityFairness(f"crops of model {model}", aging_ns=limits.aging_ns) for model in models]

    @property
    def checks(self) -> int:
        """How many comparisons were made."""
        levels = (self._frame_levels, *self._crop_levels)
        return sum(watch.checks for watch in (*self._frames, *self._crops)) + sum(watch.checks for watch in levels)

    def step(self, queued: list[FrameBook], ready: list[list[FrameBook]], now: int) -> None:
        """After a step: the frames that wait to be staged, and, by model, those with crops ready."""
        staged, ran = self._books.staged_now, self._books.ran_now
        self._queue(staged, queued, now)
        for index, frames in enumerate(ready):
            self._batches(ModelIndex(index), [frame for model, frame in ran if model == index], frames, now)

    def _queue(self, staged: list[FrameBook], queued: list[FrameBook], now: int) -> None:
        waits = _waits((frame, frame.queued_ns) for frame in queued)
        if all(since == now for since in waits.values()):  # the queue was empty meanwhile: nobody kept a place
            for watch in self._frames:
                watch.step({}, [])
        for index, watch in enumerate(self._frames):
            served: Counter[Lane] = Counter()
            for frame in staged:
                if self._single.get(_lane(frame)) == index:
                    served[_lane(frame)] += frame.boxes
            watch.step(served, [lane for lane in waits if self._single.get(lane) == index])
        if len(self._frames) == 1:
            levels = [(frame.client.lane.priority, frame.boxes) for frame in staged]
            lanes, claims = {_lane(frame) for frame in staged}, self._frame_claims
            claims.grant(lanes, waits, now)
            waiting = {lane.priority for lane in waits}
            self._books.seen[Situation.AGED_FRAME] += self._frame_levels.step(levels, waiting, claims, now)
            claims.claim(lanes, waits, self._fleeting(), now)

    def _batches(self, model: ModelIndex, ran: list[FrameBook], ready: list[FrameBook], now: int) -> None:
        waits = _waits((frame, frame.staged_ns) for frame in ready)
        claims = self._crop_claims[model]
        if ran:
            self._lingered(model, ran, claims, now)
        self._crops[model].step(Counter(map(_lane, ran)), list(waits))
        levels = [(frame.client.lane.priority, 1) for frame in ran]
        lanes, waiting = {_lane(frame) for frame in ran}, {lane.priority for lane in waits}
        claims.grant(lanes, waits, now)
        self._books.seen[Situation.AGED_CROP] += self._crop_levels[model].step(levels, waiting, claims, now)
        claims.claim(lanes, waits, self._fleeting(), now)

    def _fleeting(self) -> set[Lane]:
        """Whose frames came into a queue in this step, and left it again."""
        return {_lane(frame) for frame in self._books.came_now if frame.resolved}

    def _lingered(self, model: ModelIndex, ran: list[FrameBook], claims: Claims, now: int) -> None:
        """A batch that is not full has waited for as long as was asked for."""
        limits = self._books.scenario.limits
        if len(ran) % limits.models[model].max_batch == 0:
            return
        since = min(*(claims.earliest_ns(level, now) for level in Priority), *(frame.staged_ns for frame in ran))
        if now < since + limits.linger_ns:
            raise Violation("linger", f"a batch of model {model} that was not full waited for {now - since} ns only")


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
