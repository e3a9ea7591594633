"""`python -m bench tracing` and `python -m bench scrapes`: measure, print a table, and end with 1 if a target is
missed.

Targets are held against the interval's lower end: what noise alone can explain misses none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from statistics import median

from tqdm import tqdm

from bench.machine.outputs import output_file
from bench.machine.processes import Place
from reidstream_engines.parser import Parser

from .doors import Way
from .pairs import Ratio
from .scrapes import CAMERAS, Rate, Scrapes, scrapes
from .tracing import FRAMES, Tracing, tracing

MOST_OF_TRACING = 1.02
"""CPU of a frame where 1 % are traced, by that of one without a tracer."""
MOST_ON_LOOP_MS = 10.0
_ROUNDS = {"tracing": 50, "scrapes": 20}
_MOST = 10_000


def tracing_main(argv: Sequence[str]) -> int:
    """Returns the exit code. Raises BenchFailed."""
    parser = _parser("tracing", "CPU time of a frame, by the share of frames that are traced.")
    parser.add_argument(
        "--frames", type=_count, default=FRAMES, metavar="N", help=f"frames of a burst (default {FRAMES})"
    )
    options = parser.parse_args(argv)
    with _rounds_of(options) as advance:
        found = tracing(options.rounds, options.frames, Place.apart(), advance)
    ratios = {way: found.ratio(way) for way in Way if way is not Way.OFF}
    lines = [["traced", "CPU us/frame", "by off", "95 %"], [Way.OFF.value, _cpu(found, Way.OFF), "", ""]]
    lines += [[way.value, _cpu(found, way), *_told(ratio)] for way, ratio in ratios.items()]
    missed = []
    if ratios[Way.SOME].low > MOST_OF_TRACING:
        missed.append(f"1 % traced costs {ratios[Way.SOME]} of a frame without; at most {MOST_OF_TRACING}")
    content = {way.value: asdict(ratio) for way, ratio in ratios.items()}
    return _end(options, lines, content, missed)


def scrapes_main(argv: Sequence[str]) -> int:
    """Returns the exit code. Raises BenchFailed."""
    parser = _parser("scrapes", "Delays of frames, by how often /metrics is asked for.")
    parser.add_argument("--phase-s", type=float, default=3.0, metavar="S", help="length of each phase (default 3)")
    options = parser.parse_args(argv)
    with _rounds_of(options) as advance:
        found = scrapes(options.rounds, options.phase_s, CAMERAS, Place.apart(), advance)
    lines = [["scrapes/s", "p50 ms", "p99 ms", "p99 by none", "95 %"]]
    ratios: dict[str, Ratio] = {}
    for rate in Rate:
        told = ["", ""]
        if rate is not Rate.NONE:
            ratios[rate.name] = found.ratio(rate, 99)
            told = _told(ratios[rate.name])
        lines.append([str(rate.value), *(f"{found.percentile_ms(rate, at):.2f}" for at in (50, 99)), *told])
    sys.stdout.write(_about(found))
    missed = []
    if found.loop_s * 1000 >= MOST_ON_LOOP_MS:
        missed.append(f"a scrape computes {found.loop_s * 1000:.1f} ms on the event loop; below {MOST_ON_LOOP_MS:g}")
    content: dict[str, object] = {name: asdict(ratio) for name, ratio in ratios.items()}
    return _end(options, lines, content | {"loop_ms": found.loop_s * 1000}, missed)


def _about(found: Scrapes) -> str:
    took_ms = median(found.took_s) * 1000 if found.took_s else 0.0
    return (
        f"{CAMERAS} cameras, {found.frames_per_s:.0f} frames/s together; a page of {found.series} series took "
        f"{took_ms:.1f} ms (median), and its event loop {found.loop_s * 1000:.2f} ms of CPU\n"
    )


def _cpu(found: Tracing, way: Way) -> str:
    return f"{median(found.frame_ns[way]) / 1000:.1f}"


def _told(ratio: Ratio) -> list[str]:
    return [f"{ratio.value:.4f}", f"{ratio.low:.4f} to {ratio.high:.4f}"]


@contextmanager
def _rounds_of(options: argparse.Namespace) -> Iterator[Callable[[], None]]:
    """A bar, and what advances it by a round."""
    total: int = options.rounds
    with tqdm(total=total, unit=" rounds", file=sys.stderr) as bar:

        def advance() -> None:
            bar.update(min(1, total - bar.n))

        yield advance


def _end(
    options: argparse.Namespace, lines: Sequence[Sequence[str]], content: Mapping[str, object], missed: Sequence[str]
) -> int:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        told = "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        sys.stdout.write(f"{told.rstrip()}\n")
    sys.stdout.write("".join(f"MISSED: {text}\n" for text in missed))
    if options.output is not None:
        options.output.write_text(json.dumps({**content, "missed": missed}, indent=1) + "\n")
    return 1 if missed else 0


def _parser(name: str, about: str) -> Parser:
    parser = Parser(prog=f"python -m bench {name}", description=f"{about} See docs/benchmark.md.")
    parser.add_argument(
        "--rounds", type=_count, default=_ROUNDS[name], metavar="N", help=f"rounds (default {_ROUNDS[name]})"
    )
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"{text} is not within 1 and {_MOST}")
    return value


COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {"tracing": tracing_main, "scrapes": scrapes_main}
"""By their words."""
