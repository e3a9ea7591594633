"""The models at work: each with the threads that run its batches, from its coming until its threads have ended.

Trap: a model's engine may be closed only when no thread is inside it. The core says when nothing of a model is open
(`over`); the threads end a little later. Until then the model stays here, whoever asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVarTuple, Unpack

from reidstream_server.core.terms import ModelIndex

from .models import ServedModel
from .workers import Workers

Ts = TypeVarTuple("Ts")

GRACE_S = 1.0
"""How long threads get to end when nothing is left for them to do."""


@dataclass(slots=True, eq=False)
class _AtWork:
    """`over`: True when nothing of the model is open any more, False when the runtime was closed before that."""

    model: ServedModel
    workers: Workers
    over: asyncio.Future[bool]


class ModelsAtWork:
    """Event loop only. `failed` is told, in a thread, of a call that raised."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
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
        """Of every model whose threads have not ended."""
        return [work.workers for work in self._by_index.values()]

    def threads_for(self, name: str, slots: int) -> Workers:
        """Start threads for a model that comes, one for each batch that may be in flight."""
        return Workers(slots, f"inference-{name}", self._failed)

    def add(self, model: ServedModel, workers: Workers) -> None:
        """The model is at work from now on."""
        self._by_index[model.index] = _AtWork(model, workers, asyncio.get_running_loop().create_future())

    def submit(self, index: ModelIndex, call: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Have one of the model's threads make the call."""
        self._by_index[index].workers.submit(call, *arguments)

    def over(self, index: ModelIndex) -> ServedModel:
        """Nothing of the model is open any more: its threads end."""
        work = self._by_index[index]
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
        if not await asyncio.shield(work.over) or not await asyncio.to_thread(work.workers.close, GRACE_S):
            return False
        self._by_index.pop(model.index, None)
        return True

    def abandon(self) -> None:
        """The runtime is closing: nobody waits for a model any more."""
        for work in self._by_index.values():
            if not work.over.done():
                work.over.set_result(False)


def close_all(everybody: Sequence[Workers]) -> bool:
    """End all these threads; False if one is still at work after the grace time. Blocks, in any thread."""
    deadline = time.monotonic() + GRACE_S
    ended = [workers.close(deadline - time.monotonic()) for workers in everybody]  # each, whatever the others say
    return all(ended)
