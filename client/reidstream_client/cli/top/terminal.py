"""A terminal that is ours for some time, and whole afterwards.

It is given back however the block ends: by a key, Ctrl-C, an error, a stop (Ctrl-Z), or a signal that ends the process.
No library is needed: every terminal since the VT100 knows the few codes below.

Trap: Python runs a signal's handler between two of its own steps. It would not wake `select`, which goes on waiting, so
a handler writes a byte to a pipe that `select` watches too.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final

from typing_extensions import Self

from .keys import Key, keys_in
from .lines import Line

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # another screen, no cursor, lines are not wrapped
_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_SMALLEST: Final = (20, 3)
_READ_BYTES: Final = 4096
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, "FrameType | None"], Any]


class Terminal:
    """A `with` block has the terminal of `keyboard` and `screen`, two file descriptors. Main thread only."""

    def __init__(self, keyboard: int, screen: int) -> None:
        self._keyboard = keyboard
        self._screen = screen
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._keyboard)
        handlers: dict[int, Handler] = {signal.SIGWINCH: self._resized, signal.SIGTSTP: self._stopped}
        handlers |= dict.fromkeys(_ENDING, self._ended)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGWINCH:
                self._handlers[number] = signal.signal(number, handler)
        self._take()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for end in (self._woken, self._waker):
            os.close(end)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        try:
            columns, rows = os.get_terminal_size(self._screen)
        except OSError:
            columns, rows = 80, 24
        return max(columns, _SMALLEST[0]), max(rows, _SMALLEST[1])

    def wake(self) -> None:
        """Have `wait` return. Any thread, and signal handlers."""
        with suppress(OSError):  # full: it is woken anyway; closed: nobody waits
            os.write(self._waker, b"w")

    def wait(self, seconds: float | None) -> Sequence[Key]:
        """The keys that are pressed, within so many seconds, or until it is woken."""
        ready, _, _ = select.select([self._keyboard, self._woken], [], [], seconds)
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, _READ_BYTES)
        if self._keyboard not in ready:
            return ()
        try:
            data = os.read(self._keyboard, _READ_BYTES)
        except OSError:
            data = b""
        return tuple(keys_in(data)) if data else (Key.QUIT,)  # the terminal is gone

    def show(self, lines: Sequence[Line]) -> None:
        """Put these lines on the screen, in the place of what is there."""
        drawn = [f"{line.style.value}{line.text}\x1b[0m\x1b[K" for line in lines]
        self._write("\x1b[H" + "\r\n".join(drawn) + "\x1b[J")

    def _take(self) -> None:
        tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._write(_ENTER)

    def _give_back(self) -> None:
        with suppress(OSError):  # the terminal is gone
            self._write(_LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self._keyboard, termios.TCSANOW, self._before)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._screen, data) :]

    def _resized(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.wake()

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal, and here it goes on when the shell says so."""
        del frame
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # it stops here
        signal.signal(number, self._stopped)
        self._take()
        self.wake()

    def _ended(self, number: int, frame: FrameType | None) -> None:
        """The process ends by the signal, as it would have."""
        del frame
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
