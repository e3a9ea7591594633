"""Writes the lines of the log to a file descriptor in a thread of its own, so that nobody waits for whoever reads them.

Why: stderr is often a pipe. One that nobody reads is full after 64 KiB, and whoever writes to it then waits for ever:
it was the event loop, with every stream and SIGTERM behind it. So lines are queued, bounded in number and bytes. What
finds no room, or cannot be written, is dropped and counted, and a line says so once lines are written again.

Traps: whoever logs may be inside a destructor or a signal handler that came while the same thread logs. So the lock is
re-entrant, and nothing waits under it. A process that is killed or crashes loses what the thread has not written yet:
less than a millisecond's lines, unless the reader is slow or a library holds the interpreter.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

MAX_LINES = 10_000
MAX_BYTES = 4 * 2**20
LAST_WORDS_S = 0.9
"""How long the end of the process waits for lines to be written."""

_STDERR = 2
_PAUSE_S = 0.001  # after a descriptor that had room and took nothing


class LineWriter:
    """Thread-safe. `write` never waits; `flush` waits, but not for long.

    `file`: the descriptor; None if there is none, and then every line is dropped. `tell`: makes the line that says how
    many were dropped. `dropped`: how many were until now.
    """

    def __init__(
        self,
        file: int | None,
        tell: Callable[[int], str],
        *,
        encoding: str = "utf-8",
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
        last_words_s: float = LAST_WORDS_S,
    ) -> None:
        self.dropped = 0
        self._file = file
        self._tell = tell
        self._encoding = encoding
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._patience_s = last_words_s
        self._full = False  # from a line that found no room until half of it is free
        self._told = 0  # of `dropped`; the thread's, as the next
        self._cut = False  # the last line was written in part
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Nothing queued, and no thread; so it is in a forked process, whose parent has both."""
        self._lock = threading.RLock()
        self._lines = self._bytes = 0  # in the queue, and the one that is being written
        self._queue: SimpleQueue[tuple[bytes, int] | threading.Event | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Queue a line, which has no line break at its end, or drop it."""
        data = self._encoded(line)
        with self._lock:
            if not self._has_room(len(data)):
                self.dropped += 1
                return
            self._lines += 1
            self._bytes += len(data)
            self._queue.put((data, self.dropped))
            if self._thread is None:
                self._start()

    def flush(self) -> bool:
        """Wait until what is queued now is written; False if the reader is too slow. Then later calls do not wait."""
        if self._thread is None:
            return not self._lines
        written = threading.Event()
        self._queue.put(written)
        in_time = written.wait(self._patience_s)
        if not in_time:
            self._patience_s = 0.0
        return in_time

    def close(self) -> None:
        """Let the thread end when it has written what is queued now. A later line has a thread of its own."""
        with self._lock:
            if self._thread is not None:
                self._thread = None
                self._queue.put(None)
                self._queue = SimpleQueue()

    def _has_room(self, size: int) -> bool:
        """A queue that was full takes nothing until half of it is free: else every other line would be about drops."""
        share = 2 if self._full else 1
        room = self._lines * share < self._max_lines and self._bytes * share + size <= self._max_bytes
        self._full = not room
        return room

    def _start(self) -> None:
        """Trap: a signal handler that logs meanwhile must not start another one."""
        self._thread = threading.Thread(target=self._run, args=(self._queue,), name="log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or Python ends; the next line tries again
            self._thread = None

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, errors="backslashreplace")

    # In the thread.

    def _run(self, queue: SimpleQueue[tuple[bytes, int] | threading.Event | None]) -> None:
        while True:
            item = queue.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                self._tell_dropped(self.dropped)
                item.set()
                continue
            data, dropped = item
            self._tell_dropped(dropped)  # before the first line that was queued after them
            written = self._written(data)
            with self._lock:
                self._lines -= 1
                self._bytes -= len(data)
                self.dropped += not written
            if written and queue.empty():
                self._tell_dropped(self.dropped)

    def _tell_dropped(self, dropped: int) -> None:
        if dropped > self._told and self._written(self._encoded(self._tell(dropped - self._told))):
            self._told = dropped

    def _written(self, data: bytes) -> bool:
        """Whether all of it was. A line is one write: if it is short, no other writer can come in between."""
        if self._file is None:
            return False
        rest = memoryview(b"\n" + data if self._cut else data)
        whole = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:
                _wait_for_room(self._file)
            except OSError:  # the reader is gone, the disk is full, the descriptor is closed
                self._cut = self._cut or len(rest) < whole
                return False
        self._cut = False
        return True


def _wait_for_room(file: int) -> None:
    waiting = select.poll()
    waiting.register(file, select.POLLOUT)
    waiting.poll()
    time.sleep(_PAUSE_S)


def stderr() -> int | None:
    """Its descriptor; None where it is closed."""
    if sys.stderr is None:
        return None
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):  # a program has put something of its own in its place
        return _STDERR


def never_wait_for(file: int) -> None:
    """Have no write to this descriptor wait, whoever in this process makes it, if it is a pipe or a terminal.

    For what does not come through a LineWriter: lines of C libraries, and tracebacks that Python itself writes. They
    are lost where there is no room. Why it is opened anew: O_NONBLOCK belongs to what was opened, which a shell and
    other processes share with us. What cannot be opened anew stays as it is: a socket, or another user's terminal.
    """
    with suppress(OSError):
        if not stat.S_ISFIFO(os.fstat(file).st_mode) and not os.isatty(file):
            return
        opened = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        os.dup2(opened, file)
        os.close(opened)
