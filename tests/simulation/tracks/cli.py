"""The command: run seeds, one seed, or every mutant of the room. See `__main__.py`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from tests.simulation.cli import add_jobs, find_all, seeds_of, spread

from .catalogue import MUTANTS
from .simulator.run import run_seed


@dataclass(frozen=True, slots=True)
class _Ran:
    """What comes back from a process."""

    seed: int
    violation: str | None
    checks: int
    frames: int
    ends: int
    moves: int


def main() -> int:
    """Exit code 1: an invariant did not hold, or a mutant was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.tracks", description="run the simulator of tracks"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=seeds_of, metavar="N | FIRST:END[:STEP]", help="run seeds until one fails")
    what.add_argument("--seed", type=int, metavar="S", help="run one seed; what it raises is shown")
    what.add_argument("--mutants", action="store_true", help="run every mutant until a seed finds it")
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants with this in their name")
    add_jobs(parser)
    arguments = parser.parse_args()
    if arguments.mutants:
        return find_all([mutant for mutant in MUTANTS if arguments.only in mutant.name], arguments.jobs)
    if arguments.seed is not None:
        return _one(arguments.seed)
    return _many(arguments.seeds, arguments.jobs)


def _one(seed: int) -> int:
    outcome = run_seed(seed)
    if outcome.violation is not None:
        raise outcome.violation
    print(f"seed {seed}: {outcome.events} events, {outcome.checks} checks: all invariants hold")
    return 0


def _run(seed: int) -> _Ran:
    outcome = run_seed(seed)
    return _Ran(
        seed=seed,
        violation=None if outcome.violation is None else str(outcome.violation),
        checks=outcome.checks,
        frames=sum(verdict.answers for verdict in outcome.verdicts),
        ends=sum(len(verdict.endings) for verdict in outcome.verdicts),
        moves=outcome.moves,
    )


def _many(seeds: range, jobs: int) -> int:
    started, checks, frames, ends, moves = time.monotonic(), 0, 0, 0, 0
    for ran in spread(_run, seeds, jobs):
        if ran.violation is not None:
            print(f"seed {ran.seed}: {ran.violation}", file=sys.stderr)
            print(f"replay: python -m tests.simulation.tracks --seed {ran.seed}", file=sys.stderr)
            return 1
        checks, frames = checks + ran.checks, frames + ran.frames
        ends, moves = ends + ran.ends, moves + ran.moves
    print(f"{len(seeds)} seeds in {time.monotonic() - started:.1f} s: all invariants hold")
    print(f"{frames} frames, {ends} ends of tracks, {moves} streams that were opened again, {checks} checks")
    return 0
