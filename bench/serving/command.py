"""`python -m bench`: the server beside its ceilings, in several scenarios; `compare`: two such runs side by side."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from tqdm import tqdm

from bench.load.pictures import Content
from bench.machine.processes import Place
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
    options = _parser().parse_args(argv)
    run = _measure(options)
    sys.stdout.write(table(run) + "\n")
    if options.output is not None:
        run.save(options.output)
    return 0


def compare(argv: Sequence[str]) -> int:
    """Print two runs side by side; 1 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description="Two results side by side.")
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
    scenarios = _scenarios(options)
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
    place = Place.of(both=options.both_cores)
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
            rows += measure(scenario, effort, place, Path(folder), progress)
    return Run(settings=_settings(effort, place), rows=tuple(rows))


def _scenarios(options: argparse.Namespace) -> list[Scenario]:
    if options.model is not None:
        return [
            Scenario(
                name=options.model.stem,
                content=Content.FRAME,
                dim=_OSNET_DIM,
                model=options.model,
                profile=options.profile,
            )
        ]
    chosen = {scenario.name: scenario for scenario in (_TINY, _BAND, _CROPS, _RAW, _SHARED)}
    names: list[str] = options.scenario or (["tiny", "crops"] if options.quick else list(chosen))
    return [chosen[name] for name in names]


def _settings(effort: Effort, place: Place) -> dict[str, str]:
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": f"{cpu_name()} x{os.cpu_count()}",
        "server_cores": ",".join(map(str, place.server)),
        "load_cores": ",".join(map(str, place.load)),
        "repeats": str(effort.repeats),
        "connections": str(effort.connections),
        "window": str(effort.window),
        "boxes": str(effort.boxes),
        "jitter": str(effort.jitter),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    parser.add_argument("--both-cores", action="store_true", help="server and load generator share two cores")
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
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results as JSON")
    return parser


def _positive(kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < _MOST:
            raise argparse.ArgumentTypeError(f"{text} is not above 0 and below {_MOST}")
        return value

    return parse
