"""What a fork does to gRPC, and how a process that is forked from ours can have clients.

`grpc.aio` keeps a thread inside gRPC as long as a channel is open. gRPC finds it at a fork, and skips what it does to
stay usable in the child. There, calls of new channels then wait for ever. So before a fork, every connection without a
call closes its channel, and opens another one at its next call. If a channel must stay, because a call is open or
because it is not ours, clients of the child raise an error. gRPC's own threads may even crash such a child before it
does anything (1 of 5, with grpcio 1.85). We cannot help that, so the parent's log says it.

Traps: gRPC's threads end a few milliseconds after the last channel was closed. What they have locked at the fork stays
locked in the child, so a fork waits for their end. And a channel or a call of the parent that the child gives back
waits for gRPC's thread, or crashes, so the child keeps their holders for good.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Final, Protocol

from reidstream_client.errors import WrongPlace
from reidstream_client.process import SPAWN

_PATIENCE_S: Final = 5.0
"""How long a fork waits for a busy event loop to let go of a channel."""

_POLLER: Final = "_poll_wrapper"
"""What gRPC's thread runs; Python makes it a part of the thread's name."""


_CLOSING_S: Final = 1.0
"""How long gRPC's threads may take to end. They stay if somebody else has a channel that is not of `grpc.aio`."""

_THREADS: Final = Path("/proc/self/task")
_GRPC_THREADS: Final = {"event_engine", "lifeguard", "grpc_global_tim", "default-executo", "resolver-execut"}

LOG: Final = logging.getLogger("reidstream_client")


class Holder(Protocol):
    """Something that may hold a channel of `grpc.aio`. One event loop."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where the channel was opened; None: it is not open."""
        ...

    def rest(self) -> None:
        """Let go of the channel, if it has no call. In its event loop, or while that does not run."""
        ...


class _Forks:
    """The holders of open channels of this process, and what the fork left that made it."""

    def __init__(self) -> None:
        self.open: weakref.WeakValueDictionary[int, Holder] = weakref.WeakValueDictionary()
        self.kept: list[Holder] = []
        self.at_work = False
        self.broken = False
        self.warned = False
        self.closed_s = float("-inf")

    def holders(self) -> list[Holder]:
        """A copy, made at once: other threads may open channels meanwhile."""
        return [holder for reference in self.open.valuerefs() if (holder := reference()) is not None]

    def before(self) -> None:
        for holder in self.holders():
            _rest(holder)
        in_use = any(holder.loop is not None for holder in self.holders())
        if in_use and not self.warned:
            self.warned = True
            LOG.warning(
                "this process is forked while a stream or a call of a reidstream client is open: gRPC may crash the "
                "new process, and no client can work there. Start processes by %s, or fork before you open streams",
                SPAWN,
            )
        while not in_use and _grpc_has_threads() and time.monotonic() < self.closed_s + _CLOSING_S:
            time.sleep(0.001)
        self.at_work = _polled()

    def after_in_child(self) -> None:
        left = [holder for holder in self.holders() if holder.loop is not None]
        self.kept += left
        self.broken = self.broken or self.at_work or bool(left)
        self.open = weakref.WeakValueDictionary()


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_child=_forks.after_in_child)


def opened(holder: Holder) -> None:
    """It has a channel from now on."""
    _forks.open[id(holder)] = holder


def closed() -> None:
    """A channel was closed just now."""
    _forks.closed_s = time.monotonic()


def check_grpc() -> None:
    """Raises WrongPlace if the fork that made this process has broken gRPC."""
    if _forks.broken:
        raise WrongPlace(
            "gRPC cannot work in this process: when it was forked, its parent had an open stream or call, or another "
            f"channel of grpc.aio. Start processes by {SPAWN}, or fork before the parent opens streams"
        )


def _rest(holder: Holder) -> None:
    loop = holder.loop
    if loop is None:
        return
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if loop is here or not loop.is_running():
        holder.rest()
        return
    done = threading.Event()

    def rest() -> None:
        holder.rest()
        done.set()

    try:
        loop.call_soon_threadsafe(rest)
    except RuntimeError:  # closed meanwhile
        return
    done.wait(_PATIENCE_S)


def _polled() -> bool:
    """Whether some channel of `grpc.aio` is open."""
    return any(_POLLER in thread.name for thread in threading.enumerate())


def _grpc_has_threads() -> bool:
    """Whether threads of gRPC are there, as far as the system tells."""
    if _polled():
        return True
    try:
        return any((task / "comm").read_text().strip() in _GRPC_THREADS for task in _THREADS.iterdir())
    except OSError:  # one that ends just now, or there is no such folder
        return _THREADS.exists()
