"""What is being looked at, while it takes long: one line on a terminal, which is gone when the answer stands there."""

from __future__ import annotations

import sys


class Progress:
    """Writes to stderr if that is a terminal, and else nothing."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()

    def at(self, what: str) -> None:
        """From now on this is looked at."""
        self._write(f"looking at {what} ...")

    def over(self) -> None:
        """Nothing is looked at any more."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._shows:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
