"""Keeps TensorRT's log messages, for the error that may follow.

Why: TensorRT's calls return None or False, and the reason goes to a logger, before or after. Trap: it logs from its own
threads, and a logger that raises ends the process.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from .api import TensorRt

_KEPT = 8
_WORTH = frozenset(("INTERNAL_ERROR", "ERROR", "WARNING"))


class Messages:
    """The last few errors and warnings. Any thread."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=_KEPT)

    def add(self, severity: str, text: str) -> None:
        """Keep an error or a warning; ignore the rest."""
        if severity in _WORTH:
            self._kept.append(text.strip())

    def text(self) -> str:
        """The kept messages, the latest last, for the end of an error's message."""
        return f"; TensorRT says: {' | '.join(self._kept)}" if self._kept else ""


@contextmanager
def without_collection() -> Iterator[None]:
    """For making a builder or a runtime: no garbage is collected meanwhile, in any thread.

    TensorRT calls the logger while it holds a lock, and the end of a builder takes the same lock. A forgotten builder
    (an error's traceback holds one) that is collected just then would wait for ever.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def logger_for(trt: TensorRt, messages: Messages) -> object:
    """An ILogger that keeps messages. The caller must keep it alive: TensorRT uses it without holding it."""

    class _Logger(trt.ILogger):  # type: ignore[misc, name-defined] # the class comes with the module
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: object, message: str) -> None:
            messages.add(getattr(severity, "name", str(severity)), message)

    return _Logger()
