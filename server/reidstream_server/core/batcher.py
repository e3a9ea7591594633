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

from .fair_queue import FairQueue
from .lanes import Entry
from .state import FrameState, Portion, WaitingCrops
from .statistics import ModelStatistics
from .terms import BatchKey, ModelIndex, ModelTerms, SchedulerLimits
from .timers import Timer

P = TypeVar("P")

FIRST_BOX_NS = 1_000_000
"""What a crop is thought to cost before the first batch has come back."""

BOX_WEIGHT = 8
"""One part in so many of what a crop is thought to cost is what it did cost in the newest batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[P]):
    """A batch in flight, of `size` crops. `timeout` is due when the engine has taken too long."""

    key: BatchKey
    portions: tuple[Portion[P], ...]
    size: int
    started_ns: int
    timeout: Timer


@dataclass(slots=True, eq=False)
class _InSight:
    """What an engine will have soon: frames that are being staged, or ready and not half eaten, and crops of both."""

    frames: int = 0
    crops: int = 0

    def add(self, *, frames: int, crops: int) -> None:
        """So many more, or less."""
        self.frames += frames
        self.crops += crops


class Batcher(Generic[P]):
    """Forms batches for one model. Not thread-safe.

    `lost`: why the engine cannot go on. `box_ns`: what a crop costs of one core, or of the device. `users`, `retiring`:
    see `fleet`.
    """

    def __init__(self, terms: ModelTerms, limits: SchedulerLimits) -> None:
        self.terms = terms
        self.lost: str | None = None
        self.box_ns = FIRST_BOX_NS
        self.running: dict[BatchKey, Batch[P]] = {}
        self.users = 0
        self.retiring = False
        self.linger_timer: Timer | None = None
        self._stagers = limits.staging_slots
        self._light, self._aside = _InSight(), _InSight()
        self._linger_ns = limits.linger_ns
        self._ready: FairQueue[WaitingCrops[P]] = FairQueue(
            quantum=limits.quantum_boxes, aging_ns=limits.aging_ns, most_turns=limits.max_source_turns
        )
        self._alone: deque[Portion[P]] = deque()

    @property
    def ready_crops(self) -> int:
        """Crops that wait for a slot."""
        return self._ready.boxes + len(self._alone)

    def hungry(self, *, aside: bool) -> bool:
        """Whether the engine may run dry unless another frame is staged; `aside`: a heavy one.

        Two things must be in sight, being staged or ready: crops for every slot; and as many frames as can be staged at
        a time. The first alone would let one frame of many boxes be decoded on one core while the others are idle.
        With the second, an engine that is slower than all stagers together always has crops: each frame that it eats is
        replaced at once. A ready frame counts while more than half of its crops are there, because frames of several
        cameras are eaten in turns, and would otherwise be missed all at once.

        For a light frame heavy ones are not in sight: the crops of a camera have their turn beside a thousand others of
        one frame, and that frame would let nobody else be staged until half of it has run.
        """
        frames, crops = self._light.frames, self._light.crops + len(self._alone)
        if aside:
            frames, crops = frames + self._aside.frames, crops + self._aside.crops
        return self.lost is None and (frames < self._stagers or crops < self.terms.max_batch * self.terms.slots)

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

    def staging_begins(self, crops: int, *, aside: bool) -> None:
        """So many crops of a frame will be ready, or not, when it is staged."""
        self._sight(aside=aside).add(frames=1, crops=crops)

    def staging_ends(self, crops: int, *, aside: bool) -> None:
        """Of a frame for which it began."""
        self._sight(aside=aside).add(frames=-1, crops=-crops)

    def add(self, frame: FrameState[P], payload: P, indices: Sequence[int], now: int) -> Entry[WaitingCrops[P]]:
        """Queue crops of a staged frame."""
        flow, crops = frame.session.terms.holder, WaitingCrops(frame, payload, deque(indices), len(indices))
        self._sight(aside=frame.aside).add(frames=1, crops=len(indices))
        return self._ready.push(crops, flow=flow, priority=frame.priority, cost=len(indices), now=now)

    def cancel(self, entry: Entry[WaitingCrops[P]]) -> None:
        """Drop those of these crops that still wait."""
        if self._ready.cancel(entry):
            crops = entry.item
            self._sight(aside=crops.frame.aside).add(frames=-crops.ample, crops=-len(crops.indices))

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
        if not self._ready.boxes:
            return []
        until = self.lingers_until()
        if until is not None and now < until:
            return []
        batch: list[Portion[P]] = []
        room = self.terms.max_batch
        while room and (next_boxes := self._ready.pop_boxes(now, room)) is not None:
            crops, boxes = next_boxes
            was_ample = crops.ample
            indices = tuple(crops.indices.popleft() for _ in range(boxes))
            batch.append(Portion(crops.frame, crops.payload, indices))
            eaten = was_ample and not crops.ample
            self._sight(aside=crops.frame.aside).add(frames=-eaten, crops=-boxes)
            room -= boxes
        return batch

    def took(self, batch: Batch[P], now: int) -> None:
        """A batch has come back: what its crops have cost is how crops are weighed from now on."""
        cost = (now - batch.started_ns) * max(1, self.terms.cores) // batch.size
        self.box_ns += (cost - self.box_ns) // BOX_WEIGHT

    def lingers_until(self) -> int | None:
        """Until when a batch that is not full may wait for more; None if it need not."""
        if not self._linger_ns or not self._ready.boxes or self._ready.boxes >= self.terms.max_batch:
            return None
        oldest = self._ready.oldest_ns()
        return None if oldest is None else oldest + self._linger_ns

    def _sight(self, *, aside: bool) -> _InSight:
        return self._aside if aside else self._light
