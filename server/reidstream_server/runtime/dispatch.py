"""Hands frames and batches to threads, and brings back what came of them.

Why apart from the runtime: it decides nothing. It measures the work, without the time that it waited for a thread.
Traps: `staged` and `embedded` are called on the event loop, and never within the call that handed the work over,
because the effects of one event are carried out before the next event. And a staging may be over before the event loop
hears of it, and may be called slow meanwhile: so what is remembered of it is forgotten when the event loop has heard.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from reidstream_engines.protocol import Stager
from reidstream_server.core.effects import CropRef
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.core.terms import BatchKey, FrameKey, ModelIndex

from .at_work import ModelsAtWork
from .blocking import Embedding, Staging, embed, stage
from .job import FrameJob
from .models import ServedModel
from .session import Observer
from .wakeups import Wakeups
from .workers import Workers

_GIVEN_UP = FrameFault(reason=FaultReason.STAGING_TIMEOUT, message="given up before its staging began")


class Dispatch:
    """Event loop only. `computing`: the threads of the cores. `aside`: threads that give way to them.

    `staged` is told, beside what came of it, how long a core was busy with the staging. `observer` is told how long a
    thread was, which may have waited for its core.
    """

    def __init__(
        self,
        stager: Stager,
        computing: Workers,
        aside: Workers,
        at_work: ModelsAtWork,
        wakeups: Wakeups,
        *,
        observer: Observer,
        staged: Callable[[FrameKey, Staging, int], None],
        embedded: Callable[[ModelIndex, BatchKey, Embedding], None],
    ) -> None:
        self._stager = stager
        self._computing = computing
        self._aside = aside
        self._at_work = at_work
        self._wakeups = wakeups
        self._observer = observer
        self._staged = staged
        self._embedded = embedded
        self._threads: dict[FrameKey, int] = {}  # of stagings that have begun; written in those threads
        self._moved: set[FrameKey] = set()  # set aside before they began
        self._given_up: set[FrameKey] = set()  # given up before they began
        self._replaced: set[FrameKey] = set()  # set aside since they began

    def stage(self, key: FrameKey, job: FrameJob, *, aside: bool) -> None:
        """In a thread; or on the loop, if a thread would cost more, but then after the effects of this event."""
        if job.instant(self._stager):
            self._wakeups.soon(self._stage_here, key, job)
        else:
            (self._aside if aside else self._computing).submit(self._stage, key, job, aside)

    def set_aside(self, key: FrameKey) -> None:
        """A staging takes long: its thread gives way to all others, and another takes its place."""
        thread = self._threads.get(key)
        if thread is None:
            self._moved.add(key)
        else:
            with suppress(RuntimeError):  # no more threads: it goes on where it is
                self._computing.replace(thread)
                self._replaced.add(key)

    def give_up(self, key: FrameKey) -> None:
        """Nobody waits for a staging any more: another thread takes the place of its own."""
        thread = self._threads.get(key)
        if thread is None:
            self._given_up.add(key)
        else:
            with suppress(RuntimeError):
                self._aside.replace(thread)

    def run(self, model: ModelIndex, batch: BatchKey, crops: Sequence[CropRef[FrameJob]]) -> None:
        """In one of the threads of its model."""
        self._at_work.submit(model, self._run, self._at_work[model], batch, crops)

    def _stage_here(self, key: FrameKey, job: FrameJob) -> None:
        ended = stage(job, self._stager)
        self._forget(key)
        self._staged(key, ended, 0)

    def _stage(self, key: FrameKey, job: FrameJob, aside: bool) -> None:  # noqa: FBT001 - called by a thread
        if key in self._given_up:
            self._wakeups.from_thread(self._never_began, key)
            return
        if key in self._moved:
            self._moved.discard(key)
            self._aside.submit(self._stage, key, job, True)
            return
        self._threads[key] = threading.get_native_id()
        began, cpu_began = time.perf_counter_ns(), time.thread_time_ns()
        ended = stage(job, self._stager)
        spent, busy = time.thread_time_ns() - cpu_began, time.perf_counter_ns() - began
        del self._threads[key]
        self._wakeups.from_thread(self._staging_ended, key, ended, spent, busy, aside)

    def _staging_ended(self, key: FrameKey, ended: Staging, spent: int, busy: int, aside: bool) -> None:  # noqa: FBT001
        self._observer.staged(busy, aside=aside or key in self._replaced)
        self._forget(key)
        self._staged(key, ended, spent)

    def _never_began(self, key: FrameKey) -> None:
        self._forget(key)
        self._staged(key, _GIVEN_UP, 0)

    def _forget(self, key: FrameKey) -> None:
        for remembered in (self._moved, self._given_up, self._replaced):
            remembered.discard(key)

    def _run(self, model: ServedModel, batch: BatchKey, crops: Sequence[CropRef[FrameJob]]) -> None:
        began = time.perf_counter_ns()
        ended = embed(model.engine, crops)
        busy, size = time.perf_counter_ns() - began, len(crops)
        self._wakeups.from_thread(self._batch_ended, model.index, batch, ended, size, busy)

    def _batch_ended(self, model: ModelIndex, batch: BatchKey, ended: Embedding, size: int, busy: int) -> None:
        self._observer.batch_ended(model, size, busy)
        self._embedded(model, batch, ended)
