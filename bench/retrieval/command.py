"""`python -m bench retrieval`: measures and prints a table."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from bench.machine.processes import BenchFailed

from .crowds import SIZES
from .measure import STEPS


def main(argv: Sequence[str]) -> int:
    """Run it; returns the exit code. Raises BenchFailed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench retrieval",
        description="Seconds and memory of figures and of re-ranking, on drawn vectors of 512 numbers.",
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["market"], help="default: market")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="default: all")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="the fastest of N; default: 1")
    options = parser.parse_args(argv)
    sys.stdout.write(f"{'size':<10}{'step':<12}{'seconds':>9}{'of cores':>10}{'peak MiB':>10}{'mAP':>8}\n")
    for size in options.sizes:
        for step in options.steps:
            runs = [_apart(size, step) for _ in range(max(1, options.repeat))]
            best = min(runs, key=lambda run: run["seconds"])
            figures = f"{best['seconds']:>9.2f}{best['cpu_s']:>10.2f}{best['peak_mib']:>10.0f}{best['mAP']:>8.4f}"
            sys.stdout.write(f"{size:<10}{step:<12}{figures}\n")
            sys.stdout.flush()
    return 0


def _apart(size: str, step: str) -> dict[str, float]:
    """In a process of its own."""
    words = [sys.executable, "-m", "bench.retrieval.measure", size, step]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise BenchFailed(f"{step} at the size of {size} ended with status {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
