"""SIGTERM, SIGINT and SIGHUP, at every age of the process: what they end, and with which exit code.

    libraries load      it ends at once with 128 + the signal, since it never served, or its dry run has not passed
    models load         the same, but it releases its models first; a second signal ends it at once
    while it serves     it drains; further signals change nothing
    its code is known   further signals change nothing, so that it ends with that code

SIGHUP says that the terminal is gone, where the process has one. Where it has none, somebody means "read your files
again"; the process would end by default, so it is taken and told in the log.

Traps: Python runs a signal handler between two steps of the main thread. A library that builds a plan in that thread
makes no step for minutes. And an exception that a handler raises inside a finalizer or a library's callback is lost, or
comes out as another one: a library that is being imported makes it an ImportError. So a second thread, the watcher,
hears of every signal too. While libraries are imported nothing is raised, and the watcher ends the process. While
models are loaded, the exception is raised again in the place of any other, and when loading is over; the watcher ends
the process if the main thread does not. It does that also at the end, when a device never answers. No handler of ours
may stand when Python ends: it would put the default back, which kills; so signals are ignored by then.

A plan that is half made when the process ends has a temporary name, where nobody looks for it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from reidstream_server.logs import get_logger

log = get_logger(__name__)

PATIENCE_S = 5.0
"""How long the release of the models may take."""

_LAST_WORDS_S = 2.0  # a little more than `logging.shutdown` takes


class ToldToStop(BaseException):
    """Raised wherever the main thread is. Not an Exception, so that nobody takes it for an error of a model."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _exit_code(number)

    def tell(self) -> None:
        """Write its one line of the log."""
        _tell(self.exit_code)


class Stop:
    """What a signal does now. Main thread only, but for what the watcher calls."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._lock = threading.RLock()
        self._signals: list[int] = [signal.SIGTERM, signal.SIGINT]
        self._hangup_told = _has_terminal()  # nothing to tell where it stops us
        if self._hangup_told:
            self._signals.append(signal.SIGHUP)
        self._at_once = True  # nothing is there to be released
        self._number: int | None = None  # that came before we served
        self._serving: Callable[[], None] | None = None
        self._code: int | None = None
        self._end_s: float | None = None  # when the watcher ends the process

    @property
    def over(self) -> bool:
        """Whether the process only has to end."""
        return self._number is not None or self._code is not None

    def check(self) -> None:
        """Raise ToldToStop if a signal came: a library may have swallowed what was raised, or made it another error."""
        if self._number is not None:
            raise ToldToStop(self._number)

    def while_loading(self) -> None:
        """Models are loaded from now on, so the first signal raises ToldToStop wherever the main thread is."""
        for each in self._signals:
            signal.signal(each, self._raise_told)
        with self._lock:
            self._at_once = False

    def hold(self) -> None:
        """From now on nothing is raised where the main thread is: an event loop that is half made would break.

        Raises ToldToStop if one came; `while_serving` does for those that come from now on.
        """
        self.leave_to_the_watcher()
        self.check()

    def leave_to_the_watcher(self) -> None:
        """From now on no handler raises anything."""
        for each in self._signals:
            signal.signal(each, _leave_to_the_watcher)

    def while_serving(self, stop: Callable[[], None]) -> None:
        """From now on each signal calls `stop`, in a thread, and does nothing else. Raises ToldToStop if one came."""
        self.hold()
        with self._lock:
            self.check()
            self._at_once, self._serving = False, stop

    def ending(self, code: int) -> None:
        """The process ends with this code from now on, whatever comes."""
        with self._lock:
            self._serving, self._code = None, code

    def taken(self) -> list[int]:
        """Every signal that the watcher is to hear of."""
        stopping = self._signals
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup means that it is ignored
            self._signals = [number for number in stopping if number != signal.SIGHUP]
            return self._signals
        return stopping if signal.SIGHUP in stopping else [*stopping, signal.SIGHUP]

    def watch(self, ours: socket.socket) -> None:
        """The watcher's work, until the other end is closed."""
        while True:
            wait_s = None if self._end_s is None else max(0.0, self._end_s - time.monotonic())
            readable, _, _ = select.select([ours], [], [], wait_s)
            if not readable:
                self._end_now()
            numbers = ours.recv(4096)
            if not numbers:
                return
            for number in numbers:
                self._heard(number)

    def _raise_told(self, number: int, frame: FrameType | None) -> NoReturn:
        """The handler of the first signal."""
        del frame
        with self._lock:
            self._number = self._number or number
        self.leave_to_the_watcher()
        raise ToldToStop(self._number)

    def _heard(self, number: int) -> None:
        if number not in self._signals:  # the interpreter tells of every signal that somebody has a handler for
            if number == signal.SIGHUP and not self._hangup_told:
                self._hangup_told = True
                log.info("hangup_ignored", reason="tokens are read again by themselves, and all else at a start")
            return
        with self._lock:
            stop, code = self._serving, self._code
            first = stop is None and self._end_s is None
            if first:
                self._end_s = time.monotonic() + self._patience_s
                if code is None:
                    self._number = self._number or number
        if stop is not None:
            stop()
        elif code is None and (self._at_once or not first):
            self._end_now()

    def _end_now(self) -> NoReturn:
        with self._lock:
            code, number = self._code, self._number
        served = code is not None
        if code is None:
            code = _exit_code(number or signal.SIGTERM)
        last_words = threading.Thread(target=_last_words, args=(code, served), daemon=True)
        last_words.start()
        last_words.join(_LAST_WORDS_S)
        os._exit(code)


@contextmanager
def stoppable(patience_s: float = PATIENCE_S) -> Iterator[Stop]:
    """In this block of the main thread a signal ends the process at once, until `while_loading` or `while_serving`.

    After it signals are as before, unless the process only has to end: then they are ignored. Raises ToldToStop in the
    place of any error that comes once a signal has come.
    """
    stop = Stop(patience_s)
    ours, interpreters = socket.socketpair()
    interpreters.setblocking(False)
    file = signal.set_wakeup_fd(interpreters.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _leave_to_the_watcher) for number in stop.taken()}
    watcher = threading.Thread(target=stop.watch, args=(ours,), name="stopping", daemon=True)
    watcher.start()
    try:
        try:
            yield stop
        finally:
            stop.leave_to_the_watcher()  # or a handler raises here, for the last time: then it has done this
    except Exception:
        stop.check()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stop.over else handler)
        signal.set_wakeup_fd(file)
        interpreters.close()  # ends the watcher
        watcher.join()
        ours.close()


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal, which can go."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _leave_to_the_watcher(number: int, frame: FrameType | None) -> None:
    """Does nothing. SIG_IGN would not do: then the watcher would not hear of the signal either."""


def _last_words(code: int, served: bool) -> None:  # noqa: FBT001 - a thread's argument
    """Trap: an exception that a handler raised within `logging` may have left one of its locks taken, for ever."""
    if served:
        log.warning("threads_left", exit_code=code)
    else:
        _tell(code)
    logging.shutdown()


def _tell(code: int) -> None:
    log.info("stopped_before_serving", signal=signal.Signals(code - 128).name, exit_code=code)


def _exit_code(number: int) -> int:
    return 128 + number
