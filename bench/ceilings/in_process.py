"""The in-process ceiling: decode, cut, batch and infer in a tight loop on each core, without gRPC.

`python -m bench.ceilings.in_process` reads a Task as JSON and prints a Ceiling as JSON. It uses the server's own stager
and engine: what serving costs is the difference to the same work done here. Trap: the whole frame is decoded here,
whatever the boxes cover, so a server that decodes less may be faster than this ceiling.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.machine.processes import ask
from bench.machine.usage import busy_s, usage_of
from reidstream_engines import default_model
from reidstream_engines.boxes import resolve
from reidstream_engines.cores import usable_cores
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, Image, PixelBox, PixelFormat
from reidstream_engines.protocol import BoxCrop, Engine
from reidstream_engines.spec import CropRule
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2

from .instant import InstantEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`messages`: files of serialised requests. `model` None: the embedded one. `instant`: no network at all."""

    messages: list[str]
    warmup_s: float
    measure_s: float
    instant: bool = False
    model: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """`service_s`: the wall-clock time of each frame. `workers`: loops that ran side by side, one on each core."""

    seconds: float
    service_s: list[float]
    embedded: int
    workers: int
    cpu_s: float
    others_cpu_s: float
    faults: int
    resident_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A parsed frame: pictures, and the boxes of each."""

    pictures: tuple[tuple[Image, tuple[PixelBox, ...]], ...]


def main() -> int:
    """Read a Task from stdin, write a Ceiling to stdout."""
    json.dump(dataclasses.asdict(measure(Task(**json.load(sys.stdin)))), sys.stdout)
    return 0


def run_ceiling(task: Task, cores: Sequence[int]) -> Ceiling:
    """Run the loop in a process on these cores. Raises BenchFailed."""
    seconds = task.warmup_s + task.measure_s
    return Ceiling(**ask("bench.ceilings.in_process", dataclasses.asdict(task), cores, seconds))


def measure(task: Task) -> Ceiling:
    """Run the loop on as many threads as there are cores."""
    work = [_parse(Path(name).read_bytes()) for name in task.messages]
    workers = usable_cores()
    engine: Engine = (
        InstantEngine()
        if task.instant
        else load_onnx(
            Path(task.model) if task.model else default_model.PATH,
            name="ceiling",
            profile=task.profile,
            options=OnnxOptions(threads_per_call=1, slots=workers),
        )
    )
    stager = CpuStager()
    _side_by_side(workers, lambda: _loop(work, stager, engine, task.warmup_s))
    cores = sorted(os.sched_getaffinity(0))
    before, busy, began = usage_of(os.getpid()), busy_s(cores), time.perf_counter()
    loops = _side_by_side(workers, lambda: _loop(work, stager, engine, task.measure_s))
    ended, after, others = time.perf_counter(), usage_of(os.getpid()), busy_s(cores) - busy
    return Ceiling(
        seconds=ended - began,
        service_s=[seconds for times, _ in loops for seconds in times],
        embedded=sum(embedded for _, embedded in loops),
        workers=workers,
        cpu_s=after.cpu_s - before.cpu_s,
        others_cpu_s=max(0.0, others - (after.cpu_s - before.cpu_s)),
        faults=after.faults - before.faults,
        resident_bytes=after.resident_bytes,
    )


def _side_by_side(workers: int, loop: Callable[[], tuple[list[float], int]]) -> list[tuple[list[float], int]]:
    with ThreadPoolExecutor(workers) as threads:
        return [future.result() for future in [threads.submit(loop) for _ in range(workers)]]


def _parse(message: bytes) -> _Work:
    frame: frame_pb2.Frame = service_pb2.EmbedStreamRequest.FromString(message).frame
    if not frame.HasField("crops"):
        image = _raw(frame.raw) if frame.HasField("raw") else parse_encoded(frame.encoded.data)
        boxes = []
        for box in frame.boxes:
            found = resolve(
                (box.rect.x1, box.rect.y1, box.rect.x2, box.rect.y2),
                width=image.width,
                height=image.height,
                rule=CropRule.EXACT,
                min_px=1,
            )
            if isinstance(found, PixelBox):
                boxes.append(found)
        return _Work(pictures=((image, tuple(boxes)),))
    return _Work(
        pictures=tuple(
            (_raw(crop.raw), (PixelBox(x1=0, y1=0, x2=crop.raw.width, y2=crop.raw.height),))
            for crop in frame.crops.crops
        )
    )


def _raw(message: image_pb2.RawImage) -> Image:
    """Packed BGR."""
    return parse_raw(
        data=message.data,
        format=PixelFormat.BGR,
        width=message.width,
        height=message.height,
        stride=0,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


def _loop(work: list[_Work], stager: CpuStager, engine: Engine, seconds: float) -> tuple[list[float], int]:
    """Frames one after the other for so many seconds; the time of each, and the number of crops."""
    times: list[float] = []
    embedded = 0
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        frame = work[len(times) % len(work)]
        staged = [(stager.stage(image, [_all_of(image)]), boxes) for image, boxes in frame.pictures]
        crops = [BoxCrop(frame=pixels, box=box) for pixels, boxes in staged for box in boxes]
        for first in range(0, len(crops), engine.limits.max_batch):
            embedded += len(engine.submit(crops[first : first + engine.limits.max_batch]).result())
        for pixels, _ in staged:
            pixels.close()
        before, now = now, time.perf_counter()
        times.append(now - before)
    return times, embedded


def _all_of(image: Image) -> PixelBox:
    return PixelBox(x1=0, y1=0, x2=image.width, y2=image.height)


if __name__ == "__main__":
    sys.exit(main())
