"""`python -m bench [compare | soak | overload | gpu] ...`: chooses the command. Without one, the server is measured
beside its ceilings.

Trap: SIGTERM would end Python without unwinding and leave servers running, so it raises what Ctrl-C raises.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NoReturn

from bench.gpu.command import gpu_main
from bench.machine.processes import BenchFailed
from bench.overload import command as overload
from bench.serving import command as serving
from bench.soak import command as soak

_FAILED, _INTERRUPTED = 1, 130
_COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "compare": serving.compare,
    "soak": soak.main,
    "overload": overload.main,
    "gpu": gpu_main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(arguments[0]) if arguments else None
    try:
        return serving.main(arguments) if command is None else command(arguments[1:])
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was left running\n")
        return _INTERRUPTED
    except (BenchFailed, OSError) as error:
        sys.stderr.write(f"\nthe benchmark failed: {error}\n")
        return _FAILED


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - what signal handlers are given
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
