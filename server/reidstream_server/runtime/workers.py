"""Threads for calls that block, and that may never return.

Why not the standard library's pool: the interpreter joins its threads at exit, so one call that a device never
answers would keep the process for ever. It also makes a future for each call, and nobody here would look at it. Trap:
these threads do not keep the process alive, so whoever ends it asks `close` whether one is still at work.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

GIVES_WAY = 10
"""The niceness of threads that give way to all others: Linux gives them a tenth of what the others get, and all that
those leave.
"""


class Workers:
    """`count` threads that carry out calls in the order they came. If a call raises, `failed` is told, in that thread,
    and the thread goes on. `gives_way`: they use what other threads leave of the cores.
    """

    def __init__(
        self, count: int, name: str, failed: Callable[[BaseException], None], *, gives_way: bool = False
    ) -> None:
        self._name = name
        self._failed = failed
        self._gives_way = gives_way
        self._leaving: set[int] = set()
        self._ending = False
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._made = 0
        try:
            self.add(count)
        except RuntimeError:  # those that run must not wait for ever
            self.end()
            raise

    def submit(self, call: Callable[[Unpack[Ts]], None], *arguments: Unpack[Ts]) -> None:
        """Have a thread make the call. Any thread; never blocks."""
        self._calls.put(partial(call, *arguments))

    def add(self, count: int) -> None:
        """Start so many threads more. Raises RuntimeError if this process may have no more."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(count):
            thread = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
            self._made += 1
            thread.start()
            self._threads.append(thread)

    def replace(self, thread_id: int) -> None:
        """Another thread takes the place of this one, by its number in the system. It gives way to all others from now
        on, and ends with its call. Raises RuntimeError as `add` does.
        """
        self._leaving.add(thread_id)
        _give_way(thread_id)
        self.add(1)

    def end(self) -> None:
        """Have the threads end when what was submitted is done. Never blocks; harmless to repeat."""
        if not self._ending:
            self._ending = True
            for _ in self._threads:
                self._calls.put(None)

    def close(self, timeout_s: float) -> bool:
        """End the threads and wait for them; False if one is still at work after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        self.end()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        own = threading.get_native_id()
        if self._gives_way:
            _give_way(own)
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - a thread that ends would be a slot that is never free again
                self._failed(error)
            del call  # it holds a frame, and the next one may be long in coming
            if own in self._leaving:
                self._leaving.discard(own)
                return


def _give_way(thread_id: int) -> None:
    """Have a thread of this process give way. There is no way back without a privilege."""
    with suppress(OSError):  # a system that forbids it has no such threads, and works all the same
        os.setpriority(os.PRIO_PROCESS, thread_id, GIVES_WAY)
