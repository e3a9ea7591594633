"""The simulator: many seeds, or one with everything that happens in it.

python -m tests.simulation --seeds 10000
python -m tests.simulation --seed 4711 --trace
"""

from __future__ import annotations

import sys

from .cli import seeds_main

if __name__ == "__main__":
    sys.exit(seeds_main())
