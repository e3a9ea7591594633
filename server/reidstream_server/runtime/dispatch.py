"""Hands frames and batches to threads, and brings back what came of them.

Why apart from the runtime: it decides nothing. Trap: `staged` and `embedded` are called on the event loop, and never
within the call that handed the work over, because the effects of one event are carried out before the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reidstream_engines.protocol import Stager
from reidstream_server.core.effects import CropRef
from reidstream_server.core.terms import BatchKey, FrameKey, ModelIndex

from .at_work import ModelsAtWork
from .blocking import Embedding, Staging, embed, stage
from .job import FrameJob
from .models import ServedModel
from .wakeups import Wakeups
from .workers import Workers


class Dispatch:
    """Event loop only."""

    def __init__(
        self,
        stager: Stager,
        computing: Workers,
        at_work: ModelsAtWork,
        wakeups: Wakeups,
        *,
        staged: Callable[[FrameKey, Staging], None],
        embedded: Callable[[ModelIndex, BatchKey, Embedding], None],
    ) -> None:
        self._stager = stager
        self._computing = computing
        self._at_work = at_work
        self._wakeups = wakeups
        self._staged = staged
        self._embedded = embedded

    def stage(self, key: FrameKey, job: FrameJob) -> None:
        """In a thread; or on the loop, if a thread would cost more, but then after the effects of this event."""
        if job.instant(self._stager):
            self._wakeups.soon(self._stage_here, key, job)
        else:
            self._computing.submit(self._stage, key, job)

    def run(self, model: ModelIndex, batch: BatchKey, crops: Sequence[CropRef[FrameJob]]) -> None:
        """In one of the threads of its model."""
        self._at_work.submit(model, self._run, self._at_work[model], batch, crops)

    def _stage_here(self, key: FrameKey, job: FrameJob) -> None:
        self._staged(key, stage(job, self._stager))

    def _stage(self, key: FrameKey, job: FrameJob) -> None:
        self._wakeups.from_thread(self._staged, key, stage(job, self._stager))

    def _run(self, model: ServedModel, batch: BatchKey, crops: Sequence[CropRef[FrameJob]]) -> None:
        self._wakeups.from_thread(self._embedded, model.index, batch, embed(model.engine, crops))
