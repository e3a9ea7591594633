"""Calls that gRPC cannot end by itself: they are hung up, so that nobody keeps a call open by not taking its end.

Why: a status goes out behind what was written before it. While a client grants no window, or a write is pending, the
status waits or is refused, and the call, with all that it holds, stays until its connection closes. Only a reset needs
no window, and `grpc.aio` has no word for it. But gRPC's core resets a call whose last reference is gone: so the task of
`grpc.aio` that waits for the client to close the call is cancelled, and with it goes the last reference.

Trap: nothing may keep a `ServicerContext` beyond its call, not even in a cycle, or the reset comes with the next
garbage collection. That is why nobody here uses `context.add_done_callback`, which makes such a cycle. Trap: which task
waits for which call is known to that task alone; it is found by what its coroutine refers to. All tasks are looked at,
so that is done for many calls at once, and only when some are overdue. A test holds this to the gRPC in use.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from reidstream_server.logs import get_logger

log = get_logger(__name__)

_WAITS_FOR_CLOSE = "_schedule_rpc_coro"  # of `grpc.aio`: the coroutine that makes a handler's task
_SOON_S = 0.5  # a client that left by itself is gone by then, and nothing is to be done
_LOOK_S = 0.25
_MOST = 4096  # ends that wait for their client at a time, each a few kilobytes


class Endings:
    """Hangs up calls whose end their client does not take within `timeout_s` seconds. Event loop only."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._due: dict[asyncio.Task[object], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0

    def __len__(self) -> int:
        """Calls that are at their end, and not over yet."""
        return len(self._due)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around all that a handler does: what is left of its call afterwards is its end."""
        task = this_task()
        try:
            yield
        except asyncio.CancelledError:  # its client has left, or its status could not be sent
            self.within(task, _SOON_S)
            raise
        except BaseException:
            self._ending(task)
            raise
        else:
            self._ending(task)

    def within(self, task: asyncio.Task[object], seconds: float) -> None:
        """Hang up a handler's call unless it is over in so many seconds."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._due[task] = min(due, self._due.get(task, due))
        if len(self._due) > _MOST:
            self._due[next(iter(self._due))] = due = loop.time()
        if self._timer is None or due < self._looks_at:
            self._look_in(due - loop.time())

    def _ending(self, task: asyncio.Task[object]) -> None:
        self.within(task, self._timeout_s)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._due.pop(task, None)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        seconds = max(seconds, _LOOK_S)
        self._looks_at = loop.time() + seconds
        self._timer = loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Hang up what is overdue."""
        now = asyncio.get_running_loop().time()
        self._timer = None
        overdue = {task for task, due in self._due.items() if due <= now}
        for task in overdue:
            del self._due[task]
        if overdue and (found := hang_up(overdue)):
            log.info("calls_hung_up", calls=found)
        if self._due:
            self._look_in(min(self._due.values()) - now)


def hang_up(handlers: AbstractSet[asyncio.Task[object]]) -> int:
    """End the calls of these handlers' tasks with a reset; the number of those that were still open."""
    found = 0
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__name__", "") == _WAITS_FOR_CLOSE and not handlers.isdisjoint(_known_to(task)):
            task.cancel()
            found += 1
    for handler in handlers:
        handler.cancel()
    return found


def _known_to(task: asyncio.Task[object]) -> Iterator[asyncio.Task[object]]:
    """The tasks that a task's coroutine refers to by its variables."""
    for variables in gc.get_referents(task.get_coro()):
        yield from (found for found in gc.get_referents(variables) if isinstance(found, asyncio.Task))


def this_task() -> asyncio.Task[object]:
    """The task of the handler that runs. Raises RuntimeError outside of tasks."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("handlers run in a task")
    return task
