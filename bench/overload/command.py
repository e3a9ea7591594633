"""`python -m bench overload`: measures, prints the table, and ends with 1 when a target is missed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tqdm import tqdm

from bench.machine.outputs import output_file
from bench.machine.processes import Place
from reidstream_engines.parser import Parser

from .report import figures, misses, table
from .run import duration_s, overload

SECONDS = 20.0


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 1 when a target is missed. Raises BenchFailed."""
    options = _parser().parse_args(argv)
    total = duration_s(options.seconds)
    with tqdm(total=total, file=sys.stderr, bar_format="{desc:<40} {percentage:3.0f}% |{bar}| {elapsed}") as bar:

        def progress(what: str, seconds: float) -> None:
            bar.set_description(what, refresh=False)
            bar.update(min(seconds, total - bar.n))

        run = overload(options.seconds, Place.apart(), progress)
    stretches = [figures(run, one) for one in run.stretches]
    missed = misses(stretches)
    sys.stdout.write(table(stretches) + "\n" + "".join(f"MISSED: {text}\n" for text in missed))
    if options.output is not None:
        content = {"stretches": stretches, "missed": missed}
        options.output.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m bench overload",
        description="32 live cameras send 1.5 times what the server can do; then one is greedy. See docs/benchmark.md.",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=SECONDS, metavar="S", help=f"length of each stretch (default {SECONDS:g})"
    )
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:  # noqa: PLR2004 - said in the message
        raise argparse.ArgumentTypeError(f"{text} is not within 1 and 3600")
    return value
