"""Whether a client can work in this process, and an error at once where it cannot.

Why: without these checks a call waits for ever, and no time-out of ours or of gRPC ends it. A fork copies a client, but
not the thread that runs it. gevent and eventlet make threads that wait for each other.

Trap: the checks are made at every call, so they read a number and two entries of `sys.modules` and ask the system
nothing.
"""

from __future__ import annotations

import os
import sys
from typing import ClassVar, Final, NoReturn

from .errors import WrongPlace

SPAWN: Final = 'multiprocessing.get_context("spawn")'
_WAY_OUT: Final = "run the client in a process of its own that is not patched (subprocess, or spawned before the patch)"


class Home:
    """The process in which a client was made."""

    __slots__ = ("_forks", "_pid")

    forks: ClassVar = 0
    """How many forks lead from the first process to this one."""

    def __init__(self) -> None:
        self._forks = Home.forks
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process, and not one that was forked from it."""
        return self._forks == Home.forks

    def check(self) -> None:
        """Raises WrongPlace in a process that was forked from the client's own, and in one with patched threads."""
        if not self.is_here:
            raise WrongPlace(
                f"this client belongs to process {self._pid}, and a fork cannot take it along to process "
                f"{os.getpid()}: make a client in each process, and start processes by {SPAWN}"
            )
        check_unpatched("threading")


def check_unpatched(*modules: str) -> None:
    """Raises WrongPlace if gevent has replaced one of the modules of this process, or eventlet its threads."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        for module in modules:
            if gevent.is_module_patched(module):
                raise WrongPlace(f"a client cannot work where gevent has patched {module}: {_WAY_OUT}")
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise WrongPlace(f"a client cannot work where eventlet has patched threading: {_WAY_OUT}")


def not_picklable(thing: object) -> NoReturn:
    """As `__reduce__` of what belongs to one process: raises WrongPlace."""
    raise WrongPlace(
        f"{type(thing).__name__} can be neither pickled nor copied, since it holds a connection: "
        "pass the server's address on, and make a client there"
    )


def _forked() -> None:
    Home.forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
