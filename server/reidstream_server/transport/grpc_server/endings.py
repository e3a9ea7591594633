"""Calls that gRPC cannot end by itself: they are hung up, so that nobody keeps a call open by not taking its end.

Why: a status goes out behind what was written before it. While a client grants no window, or a write is pending, the
status waits or is refused, and the call, with all that it holds, stays until its connection closes. Only a reset needs
no window, and `grpc.aio` has no word for it. But gRPC's core resets a call whose last reference is gone: so the task of
`grpc.aio` that waits for the client to close the call is cancelled, and with it goes the last reference.

Trap: nothing may keep a `ServicerContext` beyond its call, not even in a cycle, or the reset comes with the next
garbage collection. That is why nobody here uses `context.add_done_callback`, which makes such a cycle. Trap: which task
waits for which call is known to that task alone; it is found by what its coroutine refers to. All tasks are looked at,
so that is done for many calls at once, and only when some are overdue. And `grpc.aio` keeps a reference to the newest
call of all, which is therefore reset when the next one comes. Tests hold all this to the gRPC in use.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

from reidstream_server.logs import get_logger

log = get_logger(__name__)

_WAITS_FOR_CLOSE = "_schedule_rpc_coro"  # of `grpc.aio`: the coroutine that makes a handler's task
_SOON_S = 0.5  # a client that left by itself is gone by then, and nothing is to be done
_LOOK_S = 0.25
_MOST = 4096  # ends that wait for their client at a time, each a few kilobytes


_begin: ContextVar[Callable[[], None] | None] = ContextVar("begin", default=None)


def begin_end() -> None:
    """The handler that runs sends the status of its call from now on."""
    begin = _begin.get()
    if begin is not None:
        begin()


@dataclass(slots=True)
class _End:
    """`lost`: its handler is over, and has sent no status. Whether gRPC knows that the call is over is to be seen."""

    due_s: float
    lost: bool = False


class Endings:
    """Hangs up calls whose end their client does not take within `timeout_s` seconds. Event loop only."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends: dict[asyncio.Task[object], _End] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Calls that are at their end, and perhaps not over yet."""
        return len(self._ends)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around all that a handler does. What is left of its call afterwards is its end."""
        task = this_task()
        begun = _begin.set(partial(self.within, task, self._timeout_s))
        try:
            yield
        except asyncio.CancelledError:  # its client has left, or its status could not be sent
            self.within(task, _SOON_S)
            self._ends[task].lost = True
            raise
        finally:
            _begin.reset(begun)
            self.within(task, self._timeout_s)

    def within(self, task: asyncio.Task[object], seconds: float) -> None:
        """Hang up a handler's call unless it is over in so many seconds."""
        due_s = asyncio.get_running_loop().time() + seconds
        end = self._ends.get(task)
        if end is None:
            end = self._ends[task] = _End(due_s)
            task.add_done_callback(self._over)
        end.due_s = min(end.due_s, due_s)
        if len(self._ends) > _MOST:
            next(iter(self._ends.values())).due_s = 0.0
            end = _End(0.0)
        self._look_at(end.due_s)

    def _over(self, task: asyncio.Task[object]) -> None:
        end = self._ends.get(task)
        if end is not None and not end.lost:
            del self._ends[task]

    def _look_at(self, due_s: float) -> None:
        """Look when this end is due; not too often."""
        loop = asyncio.get_running_loop()
        due_s = max(due_s, loop.time() + _LOOK_S)
        if self._timer is None or self._timer.cancelled() or due_s < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(due_s, self._look)

    def _look(self) -> None:
        """Hang up what is overdue."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        overdue = {task for task, end in self._ends.items() if end.due_s <= now}
        for task in overdue:
            del self._ends[task]
        if overdue and (found := hang_up(overdue)):
            log.info("calls_hung_up", calls=found)
        if self._ends:
            self._look_at(min(end.due_s for end in self._ends.values()))


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
