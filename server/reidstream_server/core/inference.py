"""Batches from their start to their end, and the supervision of engines.

Why apart from the batcher: that one decides which crops go next, this one what follows for their frames. When an engine
fails on a batch, each of its crops is tried alone before it is given up. An engine that cannot go on, or whose batch
does not come back, is lost for good, and every frame that needs it is answered so.

Trap: a batch may come back for frames that were answered long ago, or after its engine was given up. Until then it
holds its frames' pixels.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

from .batcher import Batch, Batcher
from .effects import BatchFailed, CropRef, Effect, EngineDied, Run
from .faults import CropOutcome, engine_lost
from .fleet import Fleet
from .ledger import Ledger
from .state import FrameState, Portion
from .statistics import ServiceRate
from .terms import BatchKey, ModelIndex, SchedulerLimits
from .timers import TimerKind, Timers

P = TypeVar("P")


class Inference(Generic[P]):
    """Starts and ends batches. Not thread-safe."""

    def __init__(
        self,
        limits: SchedulerLimits,
        fleet: Fleet[P],
        ledger: Ledger[P],
        timers: Timers,
        rate: ServiceRate,
    ) -> None:
        self._limits = limits
        self._fleet = fleet
        self._batchers = fleet.batchers
        self._ledger = ledger
        self._timers = timers
        self._rate = rate
        self._batches = 0

    def queue_crops(self, frame: FrameState[P], invalid: Collection[int], now: int) -> None:
        """Let the crops of a staged frame wait for batches, except those that could not be decoded."""
        waiting: dict[ModelIndex, list[int]] = {}
        for index, model in enumerate(frame.request.crops):
            if index in invalid or frame.payload is None:
                frame.outcomes[index] = CropOutcome.INVALID_IMAGE
                frame.open_crops -= 1
            else:
                waiting.setdefault(model, []).append(index)
        if frame.payload is not None:
            for model, indices in waiting.items():
                entry = self._batchers[model].add(frame, frame.payload, indices, now)
                frame.crop_entries.append((model, entry))

    def start(self, now: int, effects: list[Effect[P]]) -> None:
        """Start a batch in every free slot for which crops are ready. Models that share cores take turns."""
        for model in self._fleet.on_devices:
            while taken := self._batchers[model].take(now):
                self._start(model, taken, now, effects)
        passed, sharing = 0, self._fleet.sharing
        while passed < len(sharing) and self._ledger.wants_work:
            model = sharing[0]
            sharing.rotate(-1)
            if taken := self._batchers[model].take(now):
                self._start(model, taken, now, effects)
                passed = 0
            else:
                passed += 1

    def watch(self) -> None:
        """Set timers for batches that wait to fill; after everything else has taken its cores."""
        if not self._limits.linger_ns:
            return
        for index, batcher in self._batchers.items():
            self._watch_linger(index, batcher)

    def done(self, model: ModelIndex, key: BatchKey, now: int, effects: list[Effect[P]]) -> None:
        """Every crop of the batch is embedded."""
        batch = self._end(model, key, now)
        if batch is not None:
            self._rate.served(batch.size, now)
            self._batchers[model].took(batch, now)
            for portion in batch.portions:
                self._decide(portion, CropOutcome.EMBEDDED, effects)

    def failed(self, model: ModelIndex, key: BatchKey, message: str, now: int, effects: list[Effect[P]]) -> None:
        """The engine failed on the batch and can go on."""
        batch = self._end(model, key, now)
        if batch is None:
            return
        retried = batch.size > 1
        effects.append(BatchFailed(model=model, size=batch.size, message=message, retried=retried))
        for portion in batch.portions:
            if not retried or portion.frame.resolved:
                self._decide(portion, CropOutcome.FAILED, effects)
                continue
            for crop in portion.singly():
                self._batchers[model].retry_alone(crop)

    def lose(self, model: ModelIndex, message: str, effects: list[Effect[P]]) -> None:
        """The engine cannot go on."""
        batcher = self._batchers.get(model)
        if batcher is None or batcher.lost is not None:
            return
        batcher.lost = message
        self._ledger.batches_end(batcher.terms.cores, len(batcher.running))
        effects.append(EngineDied(model=model, message=message, running=len(batcher.running)))
        fault = engine_lost(batcher.terms.name, message)
        for frame in list(self._ledger.frames.values()):
            if model in frame.models:
                self._ledger.resolve(frame, fault, effects)

    def lose_all(self, message: str, effects: list[Effect[P]]) -> None:
        """No engine can go on."""
        for model in list(self._batchers):
            self.lose(model, message, effects)

    def timed_out(self, key: BatchKey, effects: list[Effect[P]]) -> None:
        """The batch has not come back in time."""
        seconds = self._limits.batch_timeout_ns / 1e9
        for model, batcher in self._batchers.items():
            if key in batcher.running:
                self.lose(model, f"a batch has not come back for {seconds:g} s", effects)

    def _start(self, model: ModelIndex, taken: list[Portion[P]], now: int, effects: list[Effect[P]]) -> None:
        self._batches += 1
        key = BatchKey(self._batches)
        crops: list[CropRef[P]] = []
        for portion in taken:
            frame = portion.frame
            crops += [CropRef(frame=frame.key, payload=portion.payload, index=index) for index in portion.indices]
            frame.running_crops += len(portion.indices)
            frame.first_batch_ns = frame.first_batch_ns or now
            self._timers.cancel(frame.budget_timer)
        timeout = self._timers.add(now + self._limits.batch_timeout_ns, TimerKind.BATCH_TIMEOUT, key)
        batcher = self._batchers[model]
        self._ledger.batch_begins(batcher.terms.cores)
        batcher.running[key] = Batch(key=key, portions=tuple(taken), size=len(crops), started_ns=now, timeout=timeout)
        effects.append(Run(model=model, batch=key, crops=tuple(crops)))

    def _end(self, model: ModelIndex, key: BatchKey, now: int) -> Batch[P] | None:
        batcher = self._batchers.get(model)
        batch = batcher.running.pop(key, None) if batcher is not None else None
        if batcher is None or batch is None:
            return None
        if batcher.lost is None:
            self._ledger.batches_end(batcher.terms.cores, 1)
        self._timers.cancel(batch.timeout)
        for portion in batch.portions:
            portion.frame.running_crops -= len(portion.indices)
        for frame in {portion.frame.key: portion.frame for portion in batch.portions}.values():
            frame.last_batch_ns = now
            frame.batch_sizes.append(batch.size)
        return batch

    def _decide(self, portion: Portion[P], outcome: CropOutcome, effects: list[Effect[P]]) -> None:
        frame = portion.frame
        if not frame.resolved:
            for index in portion.indices:
                frame.outcomes[index] = outcome
            frame.open_crops -= len(portion.indices)
        self._ledger.settle(frame, effects)

    def _watch_linger(self, model: ModelIndex, batcher: Batcher[P]) -> None:
        """Set a timer for when the batch that waits to fill may wait no longer."""
        until = batcher.lingers_until()
        if len(batcher.running) >= batcher.terms.slots or (batcher.terms.cores and not self._ledger.wants_work):
            until = None
        if batcher.linger_timer is not None and batcher.linger_timer.at_ns != until:
            self._timers.cancel(batcher.linger_timer)
            batcher.linger_timer = None
        if until is not None and batcher.linger_timer is None:
            batcher.linger_timer = self._timers.add(until, TimerKind.LINGER, model)
