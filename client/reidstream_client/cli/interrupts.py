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

_LATER_S = 0.05
_MUCH_LATER_S = 0.2


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

    def send_after(seconds: float) -> None:
        timers.append(threading.Timer(seconds, _send))
        timers[-1].daemon = True
        timers[-1].start()

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            lost(unraisable)
            return
        signal.signal(signal.SIGINT, interrupt)
        send_after(_LATER_S)

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Raise, and leave the next one to the system, which asks nobody. In the hook it would be lost for good."""
        while frame is not None:
            if frame.f_code is again.__code__:
                send_after(_MUCH_LATER_S)
                return
            frame = frame.f_back
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    sys.unraisablehook = again
    signal.signal(signal.SIGINT, interrupt)
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
