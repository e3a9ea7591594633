"""`python -m bench triton`: perf_analyzer against both wires of the open inference protocol, beside the stream."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.machine.outputs import output_file
from bench.machine.processes import Place, server
from bench.machine.usage import busy_s, usage_of
from reidstream_engines.parser import Parser

from .fetched import NotHere, perf_analyzer
from .runs import CONCURRENCIES, WAYS, stream_row, target, way_row
from .table import table

FOLDER = Path("out/perf-analyzer")

_FLAGS = ("--port", "0", "--http-port", "0", "--no-metrics-enabled", "--log-format", "json")
_KSERVE = ("--kserve", "--kserve-shared-memory")


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, and write the results if asked to; one line if there is no perf_analyzer. Raises
    BenchFailed, OSError.
    """
    options = _parser().parse_args(argv)
    try:
        program = perf_analyzer(FOLDER.absolute())
    except NotHere as error:
        sys.stdout.write(f"skipped: {error}\n")
        return 0
    chosen = [] if options.model is None else ["--model", f"{options.model}", "--profile", options.profile]
    place = Place.together()
    with tempfile.TemporaryDirectory(prefix="reidstream-bench-") as name:
        folder = Path(name)
        with server("reidstream_server.cli", [*_FLAGS, *_KSERVE, *chosen], place.server) as found:
            began, busy, rows = time.monotonic(), busy_s(list(place.server)), []
            own = time.process_time() + sum(os.times()[2:4])
            cpu_s = usage_of(found.pid).cpu_s
            at = target(found, place, folder)
            for number in range(options.repeats):
                sys.stderr.write(f"repeat {number + 1} of {options.repeats} ...\n")
                for concurrency in CONCURRENCIES:
                    rows += [way_row(program, way, at, concurrency) for way in WAYS]
                    rows.append(stream_row(at, concurrency, options.seconds))
            seconds = time.monotonic() - began
            mine = usage_of(found.pid).cpu_s - cpu_s + time.process_time() + sum(os.times()[2:4]) - own
            others = max(0.0, busy_s(list(place.server)) - busy - mine) / seconds
    sys.stdout.write(table(rows, others) + "\n")
    if options.output is not None:
        options.output.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m bench triton",
        description="Triton's perf_analyzer on gRPC and HTTP, with and without shared memory, beside the stream, on "
        "all cores: 8 crops in a request, 1 to 4 requests at a time. See docs/kserve.md.",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="an ONNX network (default: the embedded one)")
    parser.add_argument("--profile", default="torchreid", help="its preprocessing (default torchreid)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of the stream (default 3)")
    parser.add_argument("--repeats", type=int, default=3, help="how often all is measured (default 3)")
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser
