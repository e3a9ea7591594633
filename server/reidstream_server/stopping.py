"""SIGTERM and SIGINT before the server serves: models are let go of, and the process ends with 128 + the signal.

Why not the code 0 of a server that was stopped: this one never served, and a dry run has not passed.

Traps: Python runs its handlers between two steps of the main thread, and a library that builds a plan there takes none
for minutes; an exception that falls into a finalizer or a library's callback is lost. So it is raised again where
loading is over; and a thread waits for the signal as well, and ends the process where the main thread does not.
Whatever is in the making is made aside and found by nobody. A second signal does not wait at all.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from reidstream_server.logs import get_logger

log = get_logger(__name__)

PATIENCE_S = 5.0
"""How long letting go of what was loaded may take."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ToldToStop(BaseException):
    """Raised wherever the main thread is. No Exception, so that nobody takes it for a model's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _exit_code(number)

    def tell(self) -> None:
        """Write the one line of it."""
        _tell(self.exit_code)


class Stop:
    """What signals have asked for."""

    def __init__(self) -> None:
        self._number: int | None = None

    def check(self) -> None:
        """Raises ToldToStop again, if it was raised before: libraries swallow what a handler raises within them."""
        if self._number is not None:
            raise ToldToStop(self._number)

    def raise_told(self, number: int, frame: FrameType | None) -> NoReturn:
        """The handler of the first signal."""
        del frame
        self._number = number
        for each in _SIGNALS:
            signal.signal(each, _leave_to_the_watcher)
        raise ToldToStop(number)


@contextmanager
def stoppable(patience_s: float = PATIENCE_S) -> Iterator[Stop]:
    """For a block of the main thread: the first signal raises ToldToStop in it, until an event loop takes them over."""
    stop = Stop()
    ours, interpreters = socket.socketpair()
    interpreters.setblocking(False)
    file = signal.set_wakeup_fd(interpreters.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, stop.raise_told) for number in _SIGNALS}
    watcher = threading.Thread(target=_watch, args=(ours, patience_s), name="stopping", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(file)
        interpreters.close()  # ends the watcher
        watcher.join()
        ours.close()


def _leave_to_the_watcher(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: of a signal that is ignored the watcher hears nothing."""


def _watch(ours: socket.socket, patience_s: float) -> None:
    first = ours.recv(1)
    if not first:
        return
    readable, _, _ = select.select([ours], [], [], patience_s)
    if readable and not ours.recv(1):
        return
    code = _exit_code(first[0])
    _tell(code)
    logging.shutdown()
    os._exit(code)


def _tell(code: int) -> None:
    log.info("stopped_before_serving", signal=signal.Signals(code - 128).name, exit_code=code)


def _exit_code(number: int) -> int:
    return 128 + number
