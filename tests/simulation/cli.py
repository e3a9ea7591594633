"""The two commands: run seeds, and run mutants. See `__main__.py` and `mutants.py`.

Why processes: a seed is a quarter of a second of one core, and knows of no other. Trap: results are taken in the order
of the seeds, so that the seed that is told of first is the same one with any number of processes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from reidstream_engines.cores import usable_cores

from .catalogue import MUTANTS
from .planting import Mutant, planted
from .simulator.report import Total, describe_failure, trace_lines
from .simulator.run import run_seed
from .simulator.world import ALL_STEPS

T = TypeVar("T")
R = TypeVar("R")

MOST_SEEDS = 10_000
_BAR = 30
_TOLD_EVERY_S = 60.0


def seeds_main() -> int:
    """Run many seeds, or one with everything that happens in it. Exit code 1: an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="run the scheduler's simulator")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--seeds",
        type=seeds_of,
        metavar="N | FIRST:END[:STEP]",
        help="run the seeds from 0 to N - 1, or those of a range, until one fails",
    )
    what.add_argument("--seed", type=int, metavar="S", help="run one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every event")
    parser.add_argument("--keep-going", action="store_true", help="with --seeds: go on after a seed that fails")
    add_jobs(parser)
    arguments = parser.parse_args()
    if arguments.seed is None:
        return _many(arguments.seeds, arguments.jobs, keep_going=arguments.keep_going)
    return _one(arguments.seed, trace=arguments.trace)


def mutants_main() -> int:
    """Run every mutant until a seed finds it, and print the table. Exit code 1: a mutant was not found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.mutants", description="faults planted in the core"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only those with this in their name")
    add_jobs(parser)
    arguments = parser.parse_args()
    return find_all([mutant for mutant in MUTANTS if arguments.only in mutant.name], arguments.jobs)


def find_all(mutants: Sequence[Mutant], jobs: int) -> int:
    """Run each until a seed finds it, and print the table. The exit code."""
    started = time.monotonic()
    print(f"{'seed':>6}  {'invariant':18} {'module':12} mutant")
    found: list[int] = []
    for seed, row in spread(_first_seed, mutants, jobs):
        print(row, flush=True)
        if seed is not None:
            found.append(seed)
    print(
        f"{len(found)} of {len(mutants)} mutants found, each within {max(found, default=0) + 1} seeds, "
        f"in {time.monotonic() - started:.1f} s"
    )
    return 0 if len(found) == len(mutants) else 1


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=_at_least_one,
        default=usable_cores(),
        metavar="N",
        help="how many processes share the work (default: the cores, %(default)s)",
    )


def _at_least_one(text: str) -> int:
    number = _at_least_zero(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few: 1 is the least")
    return number


def seeds_of(text: str) -> range:
    """`N` or `FIRST:END` or `FIRST:END:STEP`."""
    parts = [_at_least_zero(part) for part in text.split(":")]
    if len(parts) > 3 or parts[2:] == [0]:
        raise argparse.ArgumentTypeError(f"{text} is no number of seeds, and no FIRST:END or FIRST:END:STEP")
    seeds = range(*parts)
    if not seeds:
        raise argparse.ArgumentTypeError(f"there are no seeds in {text}")
    return seeds


def _at_least_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; 500 or 1000:2000 or 1:2000:2 would do")
    return int(text)


def spread(work: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[R]:
    """What the work makes of each item, in their order. What has not begun when nobody asks further is left undone."""
    if jobs == 1 or len(items) == 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(jobs, initializer=_leave_interrupts_to_parent) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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


@dataclass(frozen=True, slots=True)
class _Ran:
    """What comes back from a process. Not the outcome: its trace holds all of the core's state."""

    seed: int
    total: Total
    failure: str | None


def _run(seed: int) -> _Ran:
    outcome = run_seed(seed)
    total = Total()
    total.add(outcome)
    return _Ran(seed, total, None if outcome.violation is None else describe_failure(outcome))


def _many(seeds: range, jobs: int, *, keep_going: bool) -> int:
    total, started, failed = Total(), time.monotonic(), list[int]()
    for ran in _told(spread(_run, seeds, jobs), len(seeds), started):
        total.merge(ran.total)
        if ran.failure is not None:
            failed.append(ran.seed)
            print(f"\n{ran.failure}", file=sys.stderr, flush=True)
            if not keep_going:
                return 1
    print("\n".join(total.lines(time.monotonic() - started)))
    if failed:
        print(f"{len(failed)} seeds failed: {', '.join(map(str, failed))}", file=sys.stderr)
    return 1 if failed else 0


def _told(results: Iterable[_Ran], count: int, started: float) -> Iterator[_Ran]:
    """The same, and how far they are: a bar on a terminal, and elsewhere a line a minute."""
    told = started
    for done, ran in enumerate(results, start=1):
        yield ran
        now = time.monotonic()
        if sys.stderr.isatty():
            _progress(done, count, now - started)
        elif now - told >= _TOLD_EVERY_S:
            told = now
            print(f"{done}/{count} seeds, {done / (now - started):.1f}/s", file=sys.stderr, flush=True)


def _progress(done: int, count: int, seconds: float) -> None:
    bar = "#" * (_BAR * done // count)
    end = "\n" if done == count else ""
    print(f"\r[{bar:.<{_BAR}}] {done}/{count} seeds, {done / seconds:.1f}/s", end=end, file=sys.stderr, flush=True)


def _first_seed(mutant: Mutant) -> tuple[int | None, str]:
    """The first seed that finds the mutant, and a row of the table."""
    with planted(mutant) as run:
        for seed in range(MOST_SEEDS):
            violation = run(seed).violation
            if violation is not None:
                return seed, f"{seed:>6}  {violation.invariant:18} {mutant.module:12} {mutant.name}"
    return None, f"{'none':>6}  {'':18} {mutant.module:12} {mutant.name}"
