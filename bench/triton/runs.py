"""What is run: perf_analyzer on both wires, and the stream with as many crops unanswered.

Each has eight crops of the network's size in a request or a frame, and one to four of them unanswered. perf_analyzer
sends float tensors, preprocessed; the stream sends the crops' pixels, as a camera would, and the server preprocesses.
All of it meets one server, one way after the other, and again in each repeat, so that all meet the same machine.

Traps: perf_analyzer would go on until three windows agree, which they never do on a machine with other work; so it
sends a number of requests, and whether figures are steady is seen from the repeats. And what it sends by itself are
random bytes, and as floats these are infinite or worse, so that no network has vectors of them: it gets a file.
"""

from __future__ import annotations

import base64
import csv
import json
import subprocess
from collections.abc import Sequence
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

REQUESTS = 100
"""Of each run."""

_MOST_S = 300.0
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
    """`cpu_ms`: of the server's process, for a crop."""

    way: str
    concurrency: int
    crops_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


def way_row(program: Sequence[str], way: Way, at: At, concurrency: int) -> Row:
    """One way, once. Raises BenchFailed."""
    server = at.server
    output = at.folder / "perf_analyzer.csv"
    output.unlink(missing_ok=True)
    address = f"127.0.0.1:{server.http_port}" if way.http else server.address
    command = [
        *(*program, "-m", at.model, "-u", address, "-i", "http" if way.http else "grpc", "-b", str(CROPS)),
        *("--concurrency-range", str(concurrency), "--request-count", str(REQUESTS), "-f", str(output)),
        *("--input-data", str(at.data), *way.flags),
    ]
    before = _done(at), usage_of(server.pid).cpu_s
    with pinned(at.place.load):
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                command, capture_output=True, text=True, timeout=_MOST_S, check=False, cwd=at.folder
            )
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"perf_analyzer ({way.name}) did not end within {_MOST_S:.0f} s") from None
    if done.returncode or not output.exists():
        said = (done.stdout + done.stderr)[-2000:]
        raise BenchFailed(f"perf_analyzer ({way.name}) ended with {done.returncode}:\n{said}")
    crops, cpu_s = _done(at) - before[0], usage_of(server.pid).cpu_s - before[1]
    return read_row(output.read_text(encoding="utf-8"), way.name, 1000 * cpu_s / max(1, crops))


def read_row(text: str, way: str, cpu_ms: float) -> Row:
    """What perf_analyzer writes of one concurrency."""
    (fields,) = csv.DictReader(text.splitlines())
    return Row(
        way=way,
        concurrency=int(fields["Concurrency"]),
        crops_per_s=float(fields["Inferences/Second"]),
        p50_ms=float(fields["p50 latency"]) / _US_A_MS,
        p99_ms=float(fields["p99 latency"]) / _US_A_MS,
        cpu_ms=cpu_ms,
    )


def stream_row(at: At, concurrency: int, seconds: float) -> Row:
    """The stream, with as many frames unanswered, once. Raises BenchFailed."""
    messages = []
    for index, data in enumerate(Pictures(content=Content.CROPS, boxes=CROPS).messages()):
        file = at.folder / f"frame-{index}"
        file.write_bytes(data)
        messages.append(str(file))
    load = Load(
        target=at.server.address,
        server_pid=at.server.pid,
        server_cores=list(at.place.server),
        messages=messages,
        warmup_s=0.5,
        measure_s=seconds,
        connections=1,
        window=concurrency,
    )
    result = run_load(load, at.place.load)
    delays = sorted(result.delays_s)
    return Row(
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


def _done(at: At) -> int:
    """Crops that the server has embedded so far."""
    with grpc.insecure_channel(at.server.address) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        statistics = stub.ModelStatistics(pb.ModelStatisticsRequest(name=at.model))
    return int(statistics.model_stats[0].inference_count)
