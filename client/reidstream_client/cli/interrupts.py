"""Ctrl-C on a command line: the first ends the work and keeps what came, the second ends the process.

Trap: Python raises KeyboardInterrupt wherever the main thread is. In a finalizer or the callback of a weak reference
(asyncio has some for its tasks) it is printed and lost. Then it is raised once more, a moment later, by a signal to the
main thread, which also wakes it if it waits.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_LATER_S = 0.05


@contextmanager
def interruptible() -> Iterator[None]:
    """For a block of the main thread. In other threads, or if the caller has its own handler, it does nothing."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    lost = sys.unraisablehook
    timers: list[threading.Timer] = []

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            lost(unraisable)
            return
        signal.signal(signal.SIGINT, _interrupt)
        timers.append(threading.Timer(_LATER_S, _send))
        timers[-1].daemon = True
        timers[-1].start()

    sys.unraisablehook = again
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        sys.unraisablehook = lost
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _send() -> None:
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Raise, and leave the next one to the system, which ends the process."""
    del frame
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
