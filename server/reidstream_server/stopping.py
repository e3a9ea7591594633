"""SIGTERM and SIGINT before the server serves: it releases its models and ends with the exit code 128 + the signal.

Why not exit code 0, as for a server that was stopped: this one never served, or its dry run has not passed.

Traps: Python runs a signal handler between two steps of the main thread. A library that builds a plan in that thread
makes no step for minutes. And an exception that a handler raises inside a finalizer or a library's callback is lost.
So there are two safeguards. The exception is raised again when loading is over. And a second thread also waits for the
signal, and ends the process if the main thread does not. A second signal ends the process at once.

A plan that is half made when the process ends has a temporary name, where nobody looks for it.
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
"""How long the release of the models may take."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ToldToStop(BaseException):
    """Raised wherever the main thread is. Not an Exception, so that nobody takes it for an error of a model."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _exit_code(number)

    def tell(self) -> None:
        """Write its one line of the log."""
        _tell(self.exit_code)


class Stop:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self._number: int | None = None

    def check(self) -> None:
        """Raise ToldToStop again if it was raised before: a library may have swallowed it."""
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
    """In this block of the main thread the first signal raises ToldToStop, until an event loop takes over signals."""
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
    """Does nothing. SIG_IGN would not do: then the watcher would not hear of the signal either."""


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
