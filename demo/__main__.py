"""`python -m demo`: see `command`, which is loaded only when Ctrl-C is taken care of."""

from __future__ import annotations

import sys

from reidstream_engines.process import run

if __name__ == "__main__":
    sys.exit(run("demo.command"))
