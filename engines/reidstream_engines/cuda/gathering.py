"""Puts calls of several threads together into batches, without making any call wait for company.

Why a leader: a call that comes while no batch runs starts one at once, with all calls that are waiting. Calls that come
meanwhile are in the next batch. So a single call costs nothing extra, and many calls share a batch. No thread of its
own, no timer. Trap: the leader works for others, so whatever ends its work, even an interrupt, must reach them; else
they would wait for ever.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Call(Generic[T, R]):
    __slots__ = ("error", "item", "results")

    def __init__(self, item: T) -> None:
        self.item = item
        self.results: tuple[R, ...] = ()  # one, when it is done
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return bool(self.results) or self.error is not None


class Gathering(Generic[T, R]):
    """`work` gets 1 to `most` items, in the order in which they came, and returns one result for each. It runs in the
    thread of one of the callers, never two at a time. Any number of threads.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: deque[_Call[T, R]] = deque()
        self._running = False
        self._changed = threading.Condition()

    def run(self, item: T) -> R:
        """The result for an item. Raises what `work` raised for its batch."""
        call: _Call[T, R] = _Call(item)
        with self._changed:
            self._waiting.append(call)
        while True:
            with self._changed:
                while self._running and not call.done:
                    self._changed.wait()
                if call.error is not None:
                    raise call.error
                if call.results:
                    return call.results[0]
                self._running = True
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            self._lead(batch)

    def _lead(self, batch: Sequence[_Call[T, R]]) -> None:
        error: BaseException | None = None
        results: Sequence[R] = ()
        try:
            results = self._work([call.item for call in batch])
        except BaseException as failure:  # noqa: BLE001 - raised by `run`, in every thread that waits for it
            error = failure
        with self._changed:
            for index, call in enumerate(batch):
                call.error = error
                call.results = tuple(results[index : index + 1])
            self._running = False
            self._changed.notify_all()
