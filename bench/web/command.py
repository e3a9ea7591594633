"""`python -m bench http`: requests of one crop to the HTTP door, beside a bare server that reads and answers as much.

The engine costs nothing, and unless `--decode` is given nothing is decoded, so the door is the work. Both get the same
bytes from the same client over as many connections, which stay open, and answer with bodies of the same length. Ratios
are taken within each repeat; the table shows the medians.

Trap: a client gets a part of the event loop for its calls and no more, and without tokens an address is a client. So
`--clients 1` measures that bound, and not the door.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from bench.machine.outputs import output_file
from bench.machine.processes import Place, Server, ask, server
from reidstream_engines.parser import Parser

from .client import WebLoad

_BOUNDARY = "XbenchX"
_CROP_BYTES = 40_000
_WIDTH, _HEIGHT = 128, 256
_FLAGS = ("--port", "0", "--metrics-port", "0", "--http-port", "0", "--log-format", "json")
_COLUMNS = ("requests/s", "CPU ms", "/s of CPU", "load CPU", "MB")

Figures = Mapping[str, float]


def main(argv: Sequence[str]) -> int:
    """Measure, print the table, and write the results if asked to. Raises BenchFailed, OSError."""
    options = _parser().parse_args(argv)
    place, rows = Place.apart(), []
    flags = _FLAGS if options.decode else (*_FLAGS, "--undecoded")
    with tempfile.TemporaryDirectory(prefix="reidstream-bench-") as folder:
        request = Path(folder) / "request"
        request.write_bytes(request_of(crop()))
        for number in range(options.repeats):
            sys.stderr.write(f"repeat {number + 1} of {options.repeats} ...\n")
            with server("bench.ceilings.instant", flags, place.server) as one:
                ours = _measure(one, request, options, place)
            with server("bench.web.echo", ["--bytes", str(ours["answer_bytes"])], place.server) as bare:
                rows.append((_figures(_measure(bare, request, options, place)), _figures(ours)))
    sys.stdout.write(table(rows) + "\n")
    if options.output is not None:
        options.output.write_text(json.dumps([{"echo": echo, "server": ours} for echo, ours in rows], indent=1) + "\n")
    return 0


def table(rows: Sequence[tuple[Figures, Figures]]) -> str:
    """The medians, and those of the ratios."""
    lines = [f"{'':16}" + "".join(f"{name:>12}" for name in _COLUMNS)]
    for name, index in (("echo", 0), ("server", 1)):
        found = [statistics.median(pair[index][column] for pair in rows) for column in _COLUMNS]
        lines.append(f"{name:16}{found[0]:12.1f}{found[1]:12.3f}{found[2]:12.1f}{found[3]:12.2f}{found[4]:12.0f}")
    ratios = [statistics.median(ours[column] / echo[column] for echo, ours in rows) for column in _COLUMNS[:3]]
    lines.append(f"{'server / echo':16}" + "".join(f"{ratio:12.2f}" for ratio in ratios))
    return "\n".join(lines)


def crop() -> bytes:
    """A JPEG of about 40 kB."""
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    files = (cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in range(98, 0, -1))
    return next(bytes(file) for file in files if len(file) <= _CROP_BYTES)


def request_of(picture: bytes) -> bytes:
    """As curl sends it."""
    about = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
    body = about.encode() + b"Content-Type: image/jpeg\r\n\r\n" + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        "POST /embed HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body


def _measure(of: Server, request: Path, options: argparse.Namespace, place: Place) -> Figures:
    load = WebLoad(
        port=of.http_port,
        server_pid=of.pid,
        request=str(request),
        connections=options.connections,
        clients=options.clients,
        warmup_s=1.0,
        measure_s=options.seconds,
    )
    return ask("bench.web.client", asdict(load), place.load, load.warmup_s + load.measure_s)


def _figures(said: Figures) -> Figures:
    answered, seconds, cpu_s = said["answered"], said["seconds"], said["server_cpu_s"]
    values = (
        answered / seconds,
        1000 * cpu_s / answered,
        answered / cpu_s,
        said["load_cpu_s"] / seconds,
        said["server_resident_bytes"] / 1e6,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m bench http",
        description="The HTTP door beside a bare uvicorn that reads and answers as many bytes: one crop of 40 kB in a "
        "form, keep-alive. See docs/benchmark.md.",
    )
    parser.add_argument("--repeats", type=int, default=5, help="how often both are measured (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (default 3)")
    parser.add_argument("--connections", type=int, default=16, help="at a time (default 16)")
    parser.add_argument(
        "--clients", type=int, default=16, help="addresses that they come from: each is a client (default 16)"
    )
    parser.add_argument("--decode", action="store_true", help="decode each picture, as the server does")
    parser.add_argument("--output", type=output_file, metavar="FILE", help="write the results as JSON")
    return parser
