"""A command on a terminal of its own: what it shows, the keys that it gets, and what it leaves behind.

Why a real terminal: size, keys and signals are the kernel's, and a command that leaves a terminal unusable can be seen
only on one. Trap: a screen is drawn in pieces. What is shown is what stands between the code that goes to the first
line and the one that clears what is below the last.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.support.patience import HANG_S, wait_until

_SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(child, 0)
if os.WIFSIGNALED(status):
    signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
sys.exit(os.WEXITSTATUS(status))
"""
"""Gives a command the foreground of the terminal, and ends as it ends. Without a shell in its session, nothing stops at
Ctrl-Z: who would have it go on?
"""

_DRAWN = re.compile(rb"\x1b\[H((?:(?!\x1b\[H).)*?)\x1b\[J", re.DOTALL)
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(slots=True, eq=False)
class Screen:
    """A running command and its terminal. `said`: everything that it wrote."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    before: Sequence[Any]
    said: bytearray = field(default_factory=bytearray)

    @property
    def shown(self) -> list[str]:
        """The lines that it shows now, without styles; none before it has drawn."""
        drawn = _DRAWN.findall(bytes(self.said))
        return re.split(r"\r*\n", _CODES.sub("", drawn[-1].decode())) if drawn else []

    @property
    def text(self) -> str:
        """Everything that it wrote, as text."""
        return self.said.decode(errors="replace")

    @property
    def modes(self) -> Sequence[Any]:
        """Of the terminal, now."""
        return termios.tcgetattr(self.slave)

    @property
    def whole(self) -> bool:
        """Whether the terminal is as it was: its modes, its own screen, its cursor, its wrapping of lines."""
        on_off = (("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?7l", "\x1b[?7h"))
        return self.modes == self.before and all(self.text.rfind(on) < self.text.rfind(off) for on, off in on_off)

    def press(self, keys: bytes) -> None:
        """Type them."""
        os.write(self.master, keys)

    def resize(self, columns: int, rows: int) -> None:
        """As a window that somebody pulls; the kernel tells the command."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, *words: str) -> None:
        """Until it shows all of them."""
        wait_until(lambda: self.process.poll() is not None or all(word in "\n".join(self.shown) for word in words))
        assert all(word in "\n".join(self.shown) for word in words), self.text

    def send(self, number: signal.Signals) -> None:
        """Send the command a signal."""
        group = os.tcgetpgrp(self.master)
        if group > 1:  # 0: there is none, and would be our own
            os.killpg(group, number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=HANG_S)

    def read(self) -> None:
        """Take what it writes; runs in a thread."""
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.said += data


@contextmanager
def on_a_terminal(
    command: Sequence[str], *, columns: int = 100, rows: int = 24, environment: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """The command as a shell runs it: in a session of its own, whose terminal sends Ctrl-C and Ctrl-Z."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", _SHELL, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
    )
    screen = Screen(process, master, slave, before)
    reader = threading.Thread(target=screen.read, daemon=True)
    reader.start()
    try:
        yield screen
    finally:
        with suppress(OSError):  # it is over
            screen.send(signal.SIGKILL)
        process.kill()
        process.wait()
        os.close(slave)
        reader.join()
        os.close(master)
