"""Runs seeds: the only entry that the command, the tests and the mutants use."""

from __future__ import annotations

from .outcome import Outcome
from .scenario import draw
from .world import World


def run_seed(seed: int, *, trace_steps: int = 40) -> Outcome:
    """Draw the seed's scenario and let it happen."""
    return World(draw(seed), trace_steps=trace_steps).run()
