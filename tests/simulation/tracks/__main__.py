"""The simulator of tracks: many seeds, one of them, or every mutant of the room.

python -m tests.simulation.tracks --seeds 10000 --jobs 2
python -m tests.simulation.tracks --seed 4711
python -m tests.simulation.tracks --mutants
"""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
