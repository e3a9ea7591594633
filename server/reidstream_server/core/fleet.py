"""The models that are there: added while the server runs, and gone when nothing of them is left.

A model that retires finishes what began with it. It takes no new sessions, but those that name it go on using it. Its
users are the open sessions that name it and the frames with crops for it; with the last of them the model is gone, and
no state of it is kept. Batches need no count of their own: they hold frames.

So a batch that never comes back keeps its model. That is right: a thread may still write into its frames. It happens
only to a lost engine, which ends the process anyway.

Traps: an index is never used again, because something may still come for a model that is gone. And the last user may
leave in the middle of an event, while somebody goes through the batchers; so the model stays there until the event's
end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

from .batcher import Batcher
from .terms import ModelIndex, ModelTerms, SchedulerLimits

P = TypeVar("P")


class Fleet(Generic[P]):
    """See the module. Not thread-safe.

    `batchers`: of all models, in the order in which they were added. `on_devices`: those whose batches take no cores.
    `sharing`: the others, in the order of their turns. `unused`: those that are gone when the event ends.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        self.batchers: dict[ModelIndex, Batcher[P]] = {}
        self.on_devices: list[ModelIndex] = []
        self.sharing: deque[ModelIndex] = deque()
        self.unused: list[ModelIndex] = []
        self._limits = limits
        self._added = 0

    def add(self, terms: ModelTerms) -> ModelIndex:
        """A new model; its index is new, too."""
        index = ModelIndex(self._added)
        self._added += 1
        self.batchers[index] = Batcher(terms, self._limits)
        if terms.cores:
            self.sharing.append(index)
        else:
            self.on_devices.append(index)
        return index

    def retire(self, index: ModelIndex) -> None:
        """Take no new sessions; harmless to repeat. Raises LookupError for a model that was never added."""
        batcher = self.batchers.get(index)
        if batcher is None:
            self._refuse_unknown(index)
        elif not batcher.retiring:
            batcher.retiring = True
            if not batcher.users:
                self.unused.append(index)

    def open(self, models: Collection[ModelIndex]) -> None:
        """A session that names these models begins. Raises LookupError, with nothing changed, if it may not."""
        for index in models:
            batcher = self.batchers.get(index)
            if batcher is None:
                self._refuse_unknown(index)
                raise LookupError(f"model {index} is gone: it was retired; open the session on one that is served")
            if batcher.retiring:
                raise LookupError(
                    f"model {index} ({batcher.terms.name!r}) is retiring; open the session on one that is served"
                )
        self.use(models)

    def use(self, models: Collection[ModelIndex]) -> None:
        """One user more, of each."""
        for index in models:
            self.batchers[index].users += 1

    def leave(self, models: Collection[ModelIndex]) -> None:
        """One user less, of each."""
        for index in models:
            batcher = self.batchers[index]
            batcher.users -= 1
            if batcher.retiring and not batcher.users:
                self.unused.append(index)

    def forget_unused(self) -> list[ModelIndex]:
        """At the end of an event: drop the models whose last user has left; returns them."""
        gone, self.unused = self.unused, []
        for index in gone:
            cores = self.batchers.pop(index).terms.cores
            (self.sharing if cores else self.on_devices).remove(index)
        return gone

    def _refuse_unknown(self, index: ModelIndex) -> None:
        if not 0 <= index < self._added:
            raise LookupError(f"model {index} was never added; there have been {self._added} so far, counted from 0")
