"""The models at work: each with the threads that run its batches, from its coming until nothing of it is left.

Trap: a model's engine may be closed only when no thread is inside it. The core says when nothing of a model is open;
the threads end a little later, and one that a device never answers does not end at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
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
    """`gone`: done when nothing of the model is open any more."""

    model: ServedModel
    workers: Workers
    gone: asyncio.Future[None]


class ModelsAtWork:
    """Event loop only. `failed` is told, in a thread, of a call that raised."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._by_index: dict[ModelIndex, _AtWork] = {}

    def __getitem__(self, index: ModelIndex) -> ServedModel:
        return self._by_index[index].model

    @property
    def indices(self) -> Sequence[ModelIndex]:
        """Of every model of which something may be open."""
        return tuple(self._by_index)

    def add(self, model: ServedModel) -> None:
        """Start a model's threads, one for each batch that may be in flight."""
        workers = Workers(model.engine.limits.slots, f"inference-{model.name}", self._failed)
        self._by_index[model.index] = _AtWork(model, workers, asyncio.get_running_loop().create_future())

    def submit(self, index: ModelIndex, call: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Have one of the model's threads make the call."""
        self._by_index[index].workers.submit(call, *arguments)

    def retired(self, index: ModelIndex) -> ServedModel:
        """Nothing of the model is open any more: let its threads end, and forget it."""
        work = self._by_index.pop(index)
        work.workers.end()
        work.gone.set_result(None)
        return work.model

    def gone(self, model: ServedModel) -> Awaitable[bool]:
        """Is done when nothing of the model is open and its threads have ended; False if one has not ended in time.

        The model is looked up at once, so what is awaited afterwards holds also when it has been forgotten meanwhile.
        """
        return _gone(self._by_index.get(model.index))

    def close(self, *others: Workers) -> bool:
        """End the threads of all models, and these others; False if one has not ended in time. Blocks."""
        deadline = time.monotonic() + GRACE_S
        everybody = (*others, *(work.workers for work in self._by_index.values()))
        ended = [workers.close(deadline - time.monotonic()) for workers in everybody]  # each, whatever the others say
        return all(ended)

    def abandon(self) -> None:
        """Nobody waits for a model any more."""
        for work in self._by_index.values():
            work.gone.cancel()


async def _gone(work: _AtWork | None) -> bool:
    if work is None:
        return True
    await asyncio.shield(work.gone)
    return await asyncio.to_thread(work.workers.close, GRACE_S)
