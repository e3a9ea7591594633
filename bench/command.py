"""`python -m bench [compare | soak | overload | tracing | scrapes | http | retrieval | triton | tracks | gpu] ...`.

Without one, the server is measured beside its ceilings.

Trap: a word that is no command is an option of the first measurement, or a misspelt command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from bench.gpu.command import gpu_main
from bench.machine.processes import BenchFailed
from bench.observing import command as observing
from bench.overload import command as overload
from bench.retrieval import command as retrieval
from bench.serving import command as serving
from bench.soak import command as soak
from bench.tracks import command as tracks
from bench.triton import command as triton
from bench.web import command as web
from reidstream_engines.parser import did_you_mean

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "compare": serving.compare,
    "soak": soak.main,
    "overload": overload.main,
    **observing.COMMANDS,
    "http": web.main,
    "retrieval": retrieval.main,
    "triton": triton.main,
    "tracks": tracks.main,
    "gpu": gpu_main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is None and arguments and not arguments[0].startswith("-"):
        sys.stderr.write(f"python -m bench: no command {arguments[0]!r}{did_you_mean(arguments[0], _COMMANDS)}\n")
        return _USAGE
    try:
        return serving.main(arguments) if command is None else command(arguments[1:])
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was left running\n")
        return _INTERRUPTED
    except (BenchFailed, OSError) as error:
        sys.stderr.write(f"\nthe benchmark failed: {error}\n")
        return _FAILED
