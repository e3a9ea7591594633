"""`python -m bench`: see `command`, which is loaded only when Ctrl-C is taken care of.

Trap: SIGTERM would end Python without unwinding and leave servers running, so it raises what Ctrl-C raises.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from reidstream_engines.process import run


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit code."""
    return run("bench.command", argv)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - what signal handlers are given
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
