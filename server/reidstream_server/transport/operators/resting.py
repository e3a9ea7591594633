"""The rest of the operators' thread: whatever callers have it do costs at most a quarter of a core.

Why: whatever can reach the port may connect, send and leave as often as it likes, and what that takes is lost to
frames. Each turn of an event loop ends with a question to its selector. So what a turn has computed is known there,
whatever it was for, and the thread sleeps for three times as long before it asks. A probe, whose turns are short, does
not notice.

Trap: nothing of the port runs during a rest. So no rest is longer than a few of a probe's turns may be late, and what
one turn can do is bounded elsewhere: by how many connections it takes, and how many bytes each of them has waiting.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

RESTS = 3
"""So many times as long as it computed."""

MOST_S = 0.05
"""The longest rest."""


class RestingSelector(selectors.BaseSelector):
    """Another selector, with a rest before each look. `clock`: what the thread has computed, in seconds."""

    def __init__(
        self,
        inner: selectors.BaseSelector | None = None,
        *,
        clock: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner = inner or selectors.DefaultSelector()
        self._clock = clock
        self._sleep = sleep
        self._looked_s: float | None = None  # when the last look was over; the loop is made in another thread

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._looked_s is not None:
            self._sleep(min(RESTS * (self._clock() - self._looked_s), MOST_S))
        found = self._inner.select(timeout)
        self._looked_s = self._clock()
        return found

    @override
    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    @override
    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    @override
    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    @override
    def close(self) -> None:
        self._inner.close()

    @override
    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._inner.get_map()
