"""`python -m bench soak`: runs it, prints the table, and ends with 1 when a target is missed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tqdm import tqdm

from bench.machine.outputs import output_file
from bench.machine.processes import Place
from reidstream_engines.parser import Parser

from .report import as_json, misses, table
from .run import soak

FRAMES = 50_000
_LEAST = 500


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 1 when a target is missed. Raises BenchFailed."""
    options = _parser().parse_args(argv)
    with tqdm(unit=" frames", file=sys.stderr, desc="soak") as bar:

        def advance(frames: int) -> None:
            bar.update(frames)

        run = soak(options.frames, seed=options.seed, place=Place.apart(), progress=advance)
    missed = misses(run)
    sys.stdout.write(table(run) + "\n" + "".join(f"MISSED: {text}\n" for text in missed))
    if options.output is not None:
        options.output.write_text(json.dumps(as_json(run) | {"missed": missed}, indent=1) + "\n")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m bench soak",
        description="Sends frames of every kind over streams that come and go, and looks for growth: memory, "
        "descriptors, shared memory, threads. See docs/benchmark.md.",
    )
    parser.add_argument(
        "--frames",
        type=_frames,
        default=FRAMES,
        metavar="N",
        help=f"frames after the warm-up, at least {_LEAST} (default {FRAMES:,})",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (default 0)")
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser


def _frames(text: str) -> int:
    value = int(text)
    if value < _LEAST:
        raise argparse.ArgumentTypeError(f"{text} is less than {_LEAST}")
    return value
