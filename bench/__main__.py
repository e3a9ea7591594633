"""`python -m bench`: measure the server against its ceilings. `python -m bench compare A.json B.json`: two runs.
`soak`, `overload`: long runs with targets, which end with 1 when one is missed. `gpu`: checks on a real device.

Trap: SIGTERM would end Python without unwinding and leave servers behind, so it becomes the exception of Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tqdm import tqdm

from . import gpu, overload_report, soak_report
from .pictures import Content
from .processes import BenchFailed, Place
from .results import Row, Run, load_run
from .scenarios import Effort, Scenario, measure
from .table import comparison, table

_FAILED, _INTERRUPTED = 1, 130
_FULL = {"repeats": 3, "warmup_s": 1.0, "closed_s": 4.0, "half_s": 15.0}
_QUICK = {"repeats": 1, "warmup_s": 0.3, "closed_s": 1.0, "half_s": 2.0}
_TINY = Scenario(name="tiny", content=Content.FRAME)
_BAND = Scenario(name="tiny-band", content=Content.BAND)
_CROPS = Scenario(name="crops", content=Content.CROPS, instant=True)
_RAW = Scenario(name="raw", content=Content.RAW, instant=True)
_SHARED = Scenario(name="shared", content=Content.RAW, instant=True, shared=True)
_OSNET_DIM = 512
_MOST = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(arguments[0]) if arguments else None
    try:
        return _bench(arguments) if command is None else command(arguments[1:])
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; nothing was left running\n")
        return _INTERRUPTED
    except (BenchFailed, OSError) as error:
        sys.stderr.write(f"\nthe benchmark failed: {error}\n")
        return _FAILED


def _bench(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    run = _measure(options)
    sys.stdout.write(table(run) + "\n")
    if options.output is not None:
        run.save(options.output)
    return 0


def _compare(argv: Sequence[str]) -> int:
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
        "cpu": f"{_cpu_name()} x{os.cpu_count()}",
        "server_cores": ",".join(map(str, place.server)),
        "load_cores": ",".join(map(str, place.load)),
        "repeats": str(effort.repeats),
        "connections": str(effort.connections),
        "window": str(effort.window),
        "boxes": str(effort.boxes),
        "jitter": str(effort.jitter),
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures the server against what this machine can do without it. See docs/benchmark.md.",
    )
    parser.add_argument("--quick", action="store_true", help="a glance, under half a minute")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=("tiny", "tiny-band", "crops", "raw", "shared"),
        help="only this one; may be repeated",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="measure with this ONNX network instead")
    parser.add_argument("--profile", help="its preprocessing, as the server's --profile")
    parser.add_argument("--both-cores", action="store_true", help="server and load share two cores")
    parser.add_argument("--repeats", type=_positive(int), help="how often everything is measured (default 3)")
    parser.add_argument("--seconds", type=_positive(float), help="of each measurement but half load (default 4)")
    parser.add_argument("--half-seconds", type=_positive(float), help="of each measurement at half load (default 15)")
    parser.add_argument("--connections", type=_positive(int), default=16, help="cameras (default 16)")
    parser.add_argument("--window", type=_positive(int), default=4, help="unanswered frames of each (default 4)")
    parser.add_argument("--boxes", type=_positive(int), default=8, help="boxes a frame (default 8)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results as JSON")
    return parser


def _positive(kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not 0 < value < _MOST:
            raise argparse.ArgumentTypeError(f"{text} is not above 0 and below {_MOST}")
        return value

    return parse


_COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "compare": _compare,
    "soak": soak_report.main,
    "overload": overload_report.main,
    "gpu": gpu.gpu_main,
}


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - what signal handlers are given
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
