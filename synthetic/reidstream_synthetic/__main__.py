"""`python -m reidstream_synthetic`: see `cli`."""

from __future__ import annotations

import os
import sys

from .cli import main

_NOBODY_READS = 141  # what a shell shows for SIGPIPE


def _run() -> int:
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here, and not when Python ends: it would print a traceback
    except BrokenPipeError:  # whoever read the output has gone, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOBODY_READS


if __name__ == "__main__":
    sys.exit(_run())
