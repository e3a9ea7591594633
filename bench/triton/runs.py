"""What is run: perf_analyzer on both wires, and the stream with as many crops unanswered.

Each has eight crops of the network's size in a request or a frame, and one to four of them unanswered. perf_analyzer
sends float tensors, preprocessed; the stream sends the crops' pixels, as a camera would, and the server preprocesses.
All of it meets one server, one after the other, so that all meet the same model and tuning.

Traps: perf_analyzer repeats what it measures until three windows agree, so how long it takes is not known; where they
never do, as on a machine with other work, it ends without a file. And what it sends by itself are random bytes, and
as floats these are infinite or worse, so that no network has vectors of them: it gets a file of numbers.
"""

from __future__ import annotations

import base64
import csv
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from bench.load.pictures import Content, Pictures
from bench.load.question import Load, run_load
from bench.machine.processes import BenchFailed, Place, Server, pinned
from bench.machine.usage import usage_of
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.kserve import inference_pb2_grpc

CROPS = 8
CONCURRENCIES = (1, 2, 3, 4)

_MOST_S = 600.0
_WITHIN = "25"  # per cent, of three windows
_UNSETTLED = "Failed to obtain stable measurement"
_US_A_MS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How requests go. `flags`: of perf_analyzer."""

    name: str
    http: bool = False
    flags: Sequence[str] = ()


WAYS = (
    Way(name="gRPC"),
    Way(name="gRPC, streaming", flags=("--streaming", "-a")),
    Way(name="gRPC, shared memory", flags=("--shared-memory", "system")),
    Way(name="HTTP", http=True),
    Way(name="HTTP, shared memory", http=True, flags=("--shared-memory", "system")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """What is asked, from which cores, and a folder for files. `data`: what perf_analyzer sends."""

    server: Server
    model: str
    place: Place
    folder: Path
    data: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`cpu_ms`: of the server's process for a crop, over all of its way."""

    way: str
    concurrency: int
    crops_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


def way_rows(program: Sequence[str], way: Way, at: At) -> list[Row]:
    """One way at all concurrencies. Raises BenchFailed."""
    server, model = at.server, at.model
    output = at.folder / "perf_analyzer.csv"
    output.unlink(missing_ok=True)
    address = f"127.0.0.1:{server.http_port}" if way.http else server.address
    command = [
        *(*program, "-m", model, "-u", address, "-i", "http" if way.http else "grpc", "-b", str(CROPS)),
        *("--concurrency-range", f"{CONCURRENCIES[0]}:{CONCURRENCIES[-1]}:1", "-p", "3000", "-s", _WITHIN, "-r", "10"),
        *("-f", str(output), "--input-data", str(at.data), *way.flags),
    ]
    before = _done(server, model), usage_of(server.pid).cpu_s
    with pinned(at.place.load):
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                command, capture_output=True, text=True, timeout=_MOST_S, check=False, cwd=at.folder
            )
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"perf_analyzer ({way.name}) did not end within {_MOST_S:.0f} s") from None
    said = done.stdout + done.stderr
    if _UNSETTLED in said:
        raise BenchFailed(
            f"perf_analyzer ({way.name}): three windows never agreed within {_WITHIN} %; the machine has other work"
        )
    if not output.exists():
        raise BenchFailed(f"perf_analyzer ({way.name}) ended with {done.returncode}:\n{said[-2000:]}")
    crops, cpu_s = _done(server, model) - before[0], usage_of(server.pid).cpu_s - before[1]
    return list(read_rows(output.read_text(encoding="utf-8"), way.name, 1000 * cpu_s / max(1, crops)))


def read_rows(text: str, way: str, cpu_ms: float) -> Iterator[Row]:
    """What perf_analyzer writes, in the order of concurrency."""
    for fields in sorted(csv.DictReader(text.splitlines()), key=lambda fields: int(fields["Concurrency"])):
        yield Row(
            way=way,
            concurrency=int(fields["Concurrency"]),
            crops_per_s=float(fields["Inferences/Second"]),
            p50_ms=float(fields["p50 latency"]) / _US_A_MS,
            p99_ms=float(fields["p99 latency"]) / _US_A_MS,
            cpu_ms=cpu_ms,
        )


def stream_rows(at: At, seconds: float) -> Iterator[Row]:
    """The stream, with as many frames unanswered. Raises BenchFailed."""
    messages = []
    for index, data in enumerate(Pictures(content=Content.CROPS, boxes=CROPS).messages()):
        file = at.folder / f"frame-{index}"
        file.write_bytes(data)
        messages.append(str(file))
    for concurrency in CONCURRENCIES:
        load = Load(
            target=at.server.address,
            server_pid=at.server.pid,
            server_cores=list(at.place.server),
            messages=messages,
            warmup_s=1.0,
            measure_s=seconds,
            connections=1,
            window=concurrency,
        )
        result = run_load(load, at.place.load)
        delays = sorted(result.delays_s)
        yield Row(
            way="stream",
            concurrency=concurrency,
            crops_per_s=result.embedded / result.used.seconds,
            p50_ms=1000 * delays[len(delays) // 2],
            p99_ms=1000 * delays[len(delays) * 99 // 100],
            cpu_ms=1000 * result.used.server_cpu_s / result.embedded,
        )


def target(server: Server, place: Place, folder: Path) -> At:
    """The server's only model, and crops for it in perf_analyzer's form: numbers as they are after preprocessing."""
    with grpc.insecure_channel(server.address) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        (model,) = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        (tensor,) = stub.ModelConfig(pb.ModelConfigRequest(name=model.name)).config.input
    random = np.random.default_rng(0)
    crops = [random.standard_normal(tuple(tensor.dims), np.float32).tobytes() for _ in range(CROPS)]
    data = folder / "data.json"
    items = [{tensor.name: {"b64": base64.b64encode(crop).decode()}} for crop in crops]
    data.write_text(json.dumps({"data": items}), encoding="utf-8")
    return At(server=server, model=model.name, place=place, folder=folder, data=data)


def _done(server: Server, model: str) -> int:
    """Crops that the server has embedded so far."""
    with grpc.insecure_channel(server.address) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        statistics = stub.ModelStatistics(pb.ModelStatisticsRequest(name=model))
    return int(statistics.model_stats[0].inference_count)
