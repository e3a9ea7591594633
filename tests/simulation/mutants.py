"""Every mutant, and the first seed that finds it: `python -m tests.simulation.mutants`."""

from __future__ import annotations

import sys

from .cli import mutants_main

if __name__ == "__main__":
    sys.exit(mutants_main())
