"""The simulator: many seeds, or one with everything that happens in it.

python -m tests.simulation --seeds 10000 --jobs 2
python -m tests.simulation --seeds 1000:2000 --keep-going
python -m tests.simulation --seed 4711 --trace
"""

from __future__ import annotations

import sys

from .cli import seeds_main

if __name__ == "__main__":
    sys.exit(seeds_main())
