"""The two commands: run seeds, and run mutants. See `__main__.py` and `mutants.py`."""

from __future__ import annotations

import argparse
import sys
import time

from .catalogue import MUTANTS
from .planting import Mutant, planted
from .simulator.report import Total, describe_failure, trace_lines
from .simulator.run import run_seed
from .simulator.world import ALL_STEPS

MOST_SEEDS = 10_000
_BAR = 30


def seeds_main() -> int:
    """Run many seeds, or one with everything that happens in it. Exit code 1: an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="run the scheduler's simulator")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=int, metavar="N", help="run the seeds from 0 to N - 1, until one fails")
    what.add_argument("--seed", type=int, metavar="S", help="run one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event")
    arguments = parser.parse_args()
    if arguments.seed is None:
        return _many(arguments.seeds)
    return _one(arguments.seed, trace=arguments.trace)


def mutants_main() -> int:
    """Run every mutant until a seed finds it, and print the table. Exit code 1: a mutant was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.mutants", description="faults planted in the core"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only those with this in their name")
    only = parser.parse_args().only
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    started = time.monotonic()
    print(f"{'seed':>6}  {'invariant':18} {'module':12} mutant")
    found = [seed for mutant in mutants if (seed := _first_seed(mutant)) is not None]
    print(
        f"{len(found)} of {len(mutants)} mutants found, each within {max(found, default=0) + 1} seeds, "
        f"in {time.monotonic() - started:.1f} s"
    )
    return 0 if len(found) == len(mutants) else 1


def _one(seed: int, *, trace: bool) -> int:
    outcome = run_seed(seed, trace_steps=ALL_STEPS if trace else 40)
    if trace:
        print("\n".join(line for step in outcome.trace for line in trace_lines(step)))
    if outcome.violation is not None:
        if not trace:
            print(describe_failure(outcome))
        raise outcome.violation
    print(f"seed {seed}: {outcome.frames} frames, {outcome.steps} events, {outcome.checks} checks: all invariants hold")
    return 0


def _many(count: int) -> int:
    total, started = Total(), time.monotonic()
    for seed in range(count):
        outcome = run_seed(seed)
        total.add(outcome)
        if outcome.violation is not None:
            print(f"\n{describe_failure(outcome)}", file=sys.stderr)
            return 1
        if sys.stderr.isatty():
            _progress(seed + 1, count, time.monotonic() - started)
    print("\n".join(total.lines(time.monotonic() - started)))
    return 0


def _progress(done: int, count: int, seconds: float) -> None:
    bar = "#" * (_BAR * done // count)
    end = "\n" if done == count else ""
    print(f"\r[{bar:.<{_BAR}}] {done}/{count} seeds, {done / seconds:.1f}/s", end=end, file=sys.stderr, flush=True)


def _first_seed(mutant: Mutant) -> int | None:
    """The first seed that finds the mutant, printed as a row."""
    with planted(mutant) as run:
        for seed in range(MOST_SEEDS):
            violation = run(seed).violation
            if violation is not None:
                print(f"{seed:>6}  {violation.invariant:18} {mutant.module:12} {mutant.name}", flush=True)
                return seed
    print(f"{'none':>6}  {'':18} {mutant.module:12} {mutant.name}", flush=True)
    return None
