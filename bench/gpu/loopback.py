"""The whole service on a GPU over loopback, beside its three ceilings: network, decoder, transport.

Each ceiling is measured alone in the same run, on the server's cores. Trap: the load generator is one process; if it is
the limit here, it was the limit of the transport's ceiling too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ceilings.in_process import Task, run_ceiling
from bench.load.pictures import Content, Pictures
from bench.load.question import Load, LoadResult, run_load
from bench.machine.processes import Place, Server, server
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import DeviceUnavailable

from .launch import MAX_BATCH, Machine
from .report import Check, Outcome, measured, ratio
from .speed import SLOTS, drawn, network_rate
from .stand_in import networks_of

_SHARE = 0.80
_BOXES = (8, 24)
_WARMUP_S, _MEASURE_S = 2.0, 5.0
_LOAD_CORES = 2
_FLAGS = ("--port", "0", "--metrics-port", "0", "--log-format", "json")
_CONNECTIONS, _WINDOW = 32, 4


def loopback(machine: Machine) -> Iterator[Check]:
    """Closed loop: 32 cameras with 1080p JPEGs of about 350 kB."""
    cores = sorted(os.sched_getaffinity(0))
    place = Place(server=tuple(cores[:-_LOAD_CORES] or cores), load=tuple(cores[-_LOAD_CORES:]))
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            for network in drawn():
                path = network.draw(folder)
                made = networks_of(machine, path, OutputType.FP16, max_batch=MAX_BATCH, slots=SLOTS, cache=folder)
                alone = max(network_rate(machine, made, batch) for batch in (MAX_BATCH // 2, MAX_BATCH))
                made.engine(machine).close()  # the device is the server's now
                dim = made.spec.output.dim
                for boxes in _BOXES:
                    yield from _served(network.name, path, boxes, dim=dim, network=alone, place=place, folder=folder)
        except DeviceUnavailable as error:
            yield Check(name="loopback", outcome=Outcome.SKIPPED, value=str(error))


def _served(
    name: str, path: Path, boxes: int, *, dim: int, network: float, place: Place, folder: Path
) -> Iterator[Check]:
    messages = []
    for index, message in enumerate(Pictures(content=Content.FRAME, boxes=boxes).messages()):
        file = folder / f"{boxes}-{index}.bin"
        file.write_bytes(message)
        messages.append(str(file))
    decoded = run_ceiling(Task(messages=messages, warmup_s=_WARMUP_S, measure_s=_MEASURE_S, instant=True), place.server)
    decoder = decoded.embedded / decoded.seconds
    with server("bench.ceilings.echo", ["--boxes", str(boxes), "--dim", str(dim)], place.server) as echo:
        seen = _load(echo, messages, place)
        transport = boxes * len(seen.sent_s) / seen.used.seconds
    with server("bench.gpu.serve", ["--network", str(path), "--plans", str(folder), *_FLAGS], place.server) as served:
        seen = _load(served, messages, place)
        found = seen.embedded / seen.used.seconds
    ceilings = {"network": network, "decoder": decoder, "transport": transport}
    least = min(ceilings, key=ceilings.__getitem__)
    title = f"{name}, {boxes} boxes a frame, loopback"
    how = f"{found:,.0f} crops/s; " + ", ".join(f"{key} {value:,.0f}" for key, value in ceilings.items())
    yield ratio(f"{title}: over the {least}", found / ceilings[least], _SHARE, how)
    cpu_ms = 1e3 * seen.used.server_cpu_s / max(1, len(seen.sent_s))
    yield measured(f"{title}: server's CPU", f"{cpu_ms:.2f} ms a frame, {seen.used.server_resident_bytes >> 20} MiB")


def _load(target: Server, messages: list[str], place: Place) -> LoadResult:
    load = Load(
        target=target.address,
        server_pid=target.pid,
        server_cores=list(place.server),
        messages=messages,
        warmup_s=_WARMUP_S,
        measure_s=_MEASURE_S,
        connections=_CONNECTIONS,
        window=_WINDOW,
    )
    return run_load(load, place.load)
