"""One model's ready crops, and the batches in flight.

Work-conserving: a free slot takes what is waiting, at once, unless a linger was asked for. A batch is formed only when
a slot is free, so it is as fresh as it can be. The crops of a failed batch come again one by one, before anything else,
so that a poisonous one fails alone.

Trap: a crop is in one of three places (ready, to be run alone, running). A frame that is given up must leave the first
two at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .fair_queue import Entry, FairQueue
from .state import FrameState, Portion, WaitingCrops
from .statistics import ModelStatistics
from .terms import BatchKey, ModelIndex, ModelTerms
from .timers import Timer

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[P]):
    """A batch in flight, of `size` crops. `timeout` is due when the engine has taken too long."""

    key: BatchKey
    portions: tuple[Portion[P], ...]
    size: int
    timeout: Timer


class Batcher(Generic[P]):
    """Forms batches for one model. Not thread-safe.

    `lost`: why the engine cannot go on. `staging_crops`: of frames that are being staged. `users`, `retiring`: see
    `fleet`.
    """

    def __init__(self, terms: ModelTerms, *, quantum: int, aging_ns: int, linger_ns: int) -> None:
        self.terms = terms
        self.lost: str | None = None
        self.running: dict[BatchKey, Batch[P]] = {}
        self.staging_crops = 0
        self.users = 0
        self.retiring = False
        self.linger_timer: Timer | None = None
        self._linger_ns = linger_ns
        self._ready: FairQueue[WaitingCrops[P]] = FairQueue(quantum=quantum, aging_ns=aging_ns)
        self._alone: deque[Portion[P]] = deque()

    @property
    def ready_crops(self) -> int:
        """Crops that wait for a slot."""
        return self._ready.boxes + len(self._alone)

    @property
    def hungry(self) -> bool:
        """Whether the engine may run dry unless another frame is staged."""
        return self.lost is None and self.ready_crops + self.staging_crops < self.terms.max_batch * self.terms.slots

    def statistics(self, index: ModelIndex) -> ModelStatistics:
        """A snapshot, under the model's index."""
        return ModelStatistics(
            index=index,
            name=self.terms.name,
            ready_crops=self.ready_crops,
            running_batches=len(self.running),
            running_crops=sum(batch.size for batch in self.running.values()),
            lost=self.lost is not None,
            retiring=self.retiring,
        )

    def add(self, frame: FrameState[P], payload: P, indices: Sequence[int], now: int) -> Entry[WaitingCrops[P]]:
        """Queue crops of a staged frame."""
        terms = frame.session.terms
        crops = WaitingCrops(frame, payload, deque(indices))
        return self._ready.push(crops, flow=terms.flow, priority=terms.priority, cost=len(indices), now=now)

    def cancel(self, entry: Entry[WaitingCrops[P]]) -> None:
        """Drop those of these crops that still wait."""
        self._ready.cancel(entry)

    def cancel_alone(self, frame: FrameState[P]) -> None:
        """Drop the frame's crops that were to run alone."""
        if self._alone:
            self._alone = deque(crop for crop in self._alone if crop.frame is not frame)

    def retry_alone(self, crop: Portion[P]) -> None:
        """Run a crop of a failed batch in a batch of its own."""
        self._alone.append(crop)

    def take(self, now: int) -> list[Portion[P]]:
        """The next batch, or nothing: no free slot, nothing ready, or still lingering (see `lingers_until`)."""
        if self.lost is not None or len(self.running) >= self.terms.slots:
            return []
        if self._alone:
            return [self._alone.popleft()]
        until = self.lingers_until()
        if until is not None and now < until:
            return []
        batch: list[Portion[P]] = []
        room = self.terms.max_batch
        while room and (next_boxes := self._ready.pop_boxes(now, room)) is not None:
            crops, boxes = next_boxes
            indices = tuple(crops.indices.popleft() for _ in range(boxes))
            batch.append(Portion(crops.frame, crops.payload, indices))
            room -= boxes
        return batch

    def lingers_until(self) -> int | None:
        """Until when a batch that is not full may wait for more; None if it need not."""
        if not self._linger_ns or not self._ready.boxes or self._ready.boxes >= self.terms.max_batch:
            return None
        oldest = self._ready.oldest_ns()
        return None if oldest is None else oldest + self._linger_ns
