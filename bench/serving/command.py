"""`python -m bench`: the server beside its ceilings, in several scenarios; `compare`: two such runs side by side."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from tqdm import tqdm

from bench.load.pictures import Content
from bench.machine.outputs import output_file
from reidstream_engines.parser import Parser
from reidstream_engines.tuning_file import cpu_name

from .results import Row, Run, load_run
from .scenarios import Effort, Scenario, measure
from .table import comparison, table

_FAILED = 1
_FULL = {"repeats": 3, "warmup_s": 1.0, "closed_s": 4.0, "half_s": 15.0}
_QUICK = {"repeats": 1, "warmup_s": 0.3, "closed_s": 1.0, "half_s": 2.0}
_TINY = Scenario(name="tiny", content=Content.FRAME)
_BAND = Scenario(name="tiny-band", content=Content.BAND)
_CROPS = Scenario(name="crops", content=Content.CROPS, instant=True)
_RAW = Scenario(name="raw", content=Content.RAW, instant=True)
_SHARED = Scenario(name="shared", content=Content.RAW, instant=True, shared=True)
_OSNET_DIM = 512
_MOST = 1000


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, and write the results if asked to. Raises BenchFailed, OSError."""
    options = parser().parse_args(argv)
    run = _measure(options)
    sys.stdout.write(table(run) + "\n")
    if options.output is not None:
        run.save(options.output)
    return 0


def compare(argv: Sequence[str]) -> int:
    """Print two runs side by side; 1 if a file cannot be read."""
    parser = Parser(prog="python -m bench compare", description="Two results side by side.")
    parser.add_argument("a", type=Path, help="a file that --output wrote")
    parser.add_argument("b", type=Path, help="another")
    options = parser.parse_args(argv)
    try:
        sys.stdout.write(comparison(load_run(options.a), load_run(options.b)) + "\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    return 0


def _measure(options: argparse.Namespace) -> Run:
    scenarios = chosen(options)
    figures = _QUICK if options.quick else _FULL
    effort = Effort(
        repeats=options.repeats or int(figures["repeats"]),
        warmup_s=figures["warmup_s"],
        closed_s=options.seconds or figures["closed_s"],
        half_s=options.half_seconds or figures["half_s"],
        connections=options.connections,
        window=options.window,
        boxes=options.boxes,
    )
    rows: list[Row] = []
    total = sum(effort.seconds(scenario) for scenario in scenarios)
    with (
        tempfile.TemporaryDirectory(prefix="reidstream-bench-") as folder,
        tqdm(
            total=total, unit="s", file=sys.stderr, bar_format="{desc:<24} {percentage:3.0f}% |{bar}| {elapsed}"
        ) as bar,
    ):

        def progress(what: str, seconds: float) -> None:
            bar.set_description(what, refresh=False)
            bar.update(min(seconds, total - bar.n))

        for scenario in scenarios:
            rows += measure(scenario, effort, Path(folder), progress)
    return Run(settings=_settings(effort), rows=tuple(rows))


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """What was asked for: on one core, on all of them, or both. On all cores, those whose work fills them."""
    named = {scenario.name: scenario for scenario in (_TINY, _BAND, _CROPS, _RAW, _SHARED)}
    if options.model is not None:
        named = {
            options.model.stem: Scenario(
                name=options.model.stem,
                content=Content.FRAME,
                dim=_OSNET_DIM,
                model=options.model,
                profile=options.profile,
            )
        }
    elif options.scenario or options.quick:
        named = {name: named[name] for name in options.scenario or ("tiny", "crops")}
    on: str = options.cores or ("one" if options.quick else "each")
    found: list[Scenario] = []
    for scenario in named.values():
        if on != "all":
            found.append(scenario)
        if on == "all" or (on == "each" and not scenario.instant):
            found.append(replace(scenario, all_cores=True))
    return found


def _settings(effort: Effort) -> dict[str, str]:
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": f"{cpu_name()} x{os.cpu_count()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "repeats": str(effort.repeats),
        "connections": str(effort.connections),
        "window": str(effort.window),
        "boxes": str(effort.boxes),
        "jitter": str(effort.jitter),
    }


def parser() -> argparse.ArgumentParser:
    """The options of `python -m bench`."""
    parser = Parser(
        prog="python -m bench",
        description="Measures the server against what this machine can do without it. See docs/benchmark.md.",
    )
    parser.add_argument("--quick", action="store_true", help="a first look, under half a minute")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=("tiny", "tiny-band", "crops", "raw", "shared"),
        help="measure only this one; may be given several times",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="measure with this ONNX network instead")
    parser.add_argument("--profile", help="preprocessing of that network, as for the server")
    parser.add_argument(
        "--cores",
        choices=("one", "all", "each"),
        help="one: the server on one core, the load on another; all: both on all cores; each (the default): one core, "
        "and all cores where the work fills them; with --quick: one",
    )
    parser.add_argument("--repeats", type=_positive(int), help="how often everything is measured (default 3)")
    parser.add_argument(
        "--seconds", type=_positive(float), help="length of each measurement except half load (default 4)"
    )
    parser.add_argument(
        "--half-seconds", type=_positive(float), help="length of each measurement at half load (default 15)"
    )
    parser.add_argument("--connections", type=_positive(int), default=16, help="number of cameras (default 16)")
    parser.add_argument("--window", type=_positive(int), default=4, help="unanswered frames of each camera (default 4)")
    parser.add_argument("--boxes", type=_positive(int), default=8, help="boxes in each frame (default 8)")
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser


def _positive(kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < _MOST:
            raise argparse.ArgumentTypeError(f"{text} is not above 0 and below {_MOST}")
        return value

    return parse
