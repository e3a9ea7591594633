"""How the process begins and ends.

Why apart: to load gRPC and NumPy takes half a second, and somebody who presses Ctrl-C in it should see no traceback. So
this module imports nothing heavy, and the command only once the signal is taken care of. Trap: in a library that is
being loaded an exception would be lost or turned into another one, and nothing is to be cleaned up yet. So the process
ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from .status import Status


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status."""
    with _leaving_at_once():
        from .command import main as run  # noqa: PLC0415 - see above
    try:
        status = run(argv)
        sys.stdout.flush()  # here, and not when Python ends: it would print a traceback
    except BrokenPipeError:
        _read_no_more()
        return Status.NOBODY_READS
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return Status.INTERRUPTED
    return status


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """A block in which Ctrl-C ends the process; not in other threads, or if the caller has its own handler."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    os.write(2, b"interrupted\n")
    os._exit(Status.INTERRUPTED)


def _read_no_more() -> None:
    """Send what Python still holds back nowhere: to write it would fail again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
