"""The models at work: each with the threads that run its batches, from its coming until its threads have ended.

A model that computes on this machine's cores shares their threads, one for each core, with staging and with the others
of its kind. So a thread that ends one piece of work goes on with the next that was given out, and no core waits for the
event loop. A model on a device has threads of its own, which wait for the device.

Trap: a model's engine may be closed only when no thread is inside it. The core says when nothing of a model is open
(`over`); threads of its own end a little later. Until then the model stays here, whoever asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVarTuple, Unpack

from reidstream_engines.protocol import EngineLimits
from reidstream_server.core.terms import ModelIndex

from .models import ServedModel
from .workers import Workers

Ts = TypeVarTuple("Ts")

GRACE_S = 1.0
"""How long threads get to end when nothing is left for them to do."""


@dataclass(slots=True, eq=False)
class _AtWork:
    """`workers`: its own, or those that it shares. `over`: True when nothing of the model is open any more, False when
    the runtime was closed before that.
    """

    model: ServedModel
    workers: Workers
    over: asyncio.Future[bool]


class ModelsAtWork:
    """Event loop only. `computing`: the threads of the cores. `failed` is told, in a thread, of a call that raised."""

    def __init__(self, computing: Workers, failed: Callable[[BaseException], None]) -> None:
        self._computing = computing
        self._failed = failed
        self._by_index: dict[ModelIndex, _AtWork] = {}

    def __getitem__(self, index: ModelIndex) -> ServedModel:
        return self._by_index[index].model

    @property
    def open(self) -> Sequence[ModelIndex]:
        """Of every model of which something may be open."""
        return [index for index, work in self._by_index.items() if not work.over.done()]

    @property
    def workers(self) -> Sequence[Workers]:
        """Of every model with threads of its own that have not ended."""
        return [work.workers for work in self._by_index.values() if self._owns(work)]

    def threads_for(self, name: str, limits: EngineLimits) -> Workers:
        """For a model that comes: the threads of the cores, or new ones, one for each batch that may be in flight."""
        return self._computing if limits.cores else Workers(limits.slots, f"inference-{name}", self._failed)

    def add(self, model: ServedModel, workers: Workers) -> None:
        """The model is at work from now on."""
        self._by_index[model.index] = _AtWork(model, workers, asyncio.get_running_loop().create_future())

    def submit(self, index: ModelIndex, call: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Have one of the model's threads make the call."""
        self._by_index[index].workers.submit(call, *arguments)

    def lost(self, index: ModelIndex, running: int) -> None:
        """So many batches of the model may never come back: other threads take the place of theirs."""
        work = self._by_index[index]
        if not self._owns(work):
            with suppress(RuntimeError):  # no more threads: the process ends soon, and has fewer until then
                work.workers.add(running)

    def over(self, index: ModelIndex) -> ServedModel:
        """Nothing of the model is open any more: threads of its own end."""
        work = self._by_index[index]
        if self._owns(work):
            work.workers.end()
        if not work.over.done():
            work.over.set_result(True)
        return work.model

    async def gone(self, model: ServedModel) -> bool:
        """Wait until nothing of the model is open, and forget it when its threads have ended.

        True: they have. False: one has not ended within the grace time, or the runtime was closed first; ask again. For
        a model that is gone: True at once.
        """
        work = self._by_index.get(model.index)
        if work is None:
            return True
        if not await asyncio.shield(work.over):
            return False
        if self._owns(work) and not await asyncio.to_thread(work.workers.close, GRACE_S):
            return False
        self._by_index.pop(model.index, None)
        return True

    def abandon(self) -> None:
        """The runtime is closing: nobody waits for a model any more."""
        for work in self._by_index.values():
            if not work.over.done():
                work.over.set_result(False)

    def _owns(self, work: _AtWork) -> bool:
        return work.workers is not self._computing


def close_all(everybody: Sequence[Workers]) -> bool:
    """End all these threads; False if one is still at work after the grace time. Blocks, in any thread."""
    deadline = time.monotonic() + GRACE_S
    ended = [workers.close(deadline - time.monotonic()) for workers in everybody]  # each, whatever the others say
    return all(ended)
