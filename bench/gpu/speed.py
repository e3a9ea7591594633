"""Speeds on a GPU beside their bounds in the same run: the kernel beside a copy, the engine beside its network.

Why many frames: crops of one frame would come from the cache. Trap: the kernel's bytes are those of the boxes, read
once, and those it writes. A copy reads and writes each byte, so it copies half as many for the same traffic.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from reidstream_engines.cuda.decoders import CpuFrameDecoder
from reidstream_engines.cuda.driver import Context, DeviceBuffer, Event, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.cuda.status import check
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.image import PixelBox, RawImage
from reidstream_engines.protocol import BoxCrop, Ticket
from reidstream_engines.selftest import noise

from .checks import default_spec
from .launch import Cuts, Launcher, Machine
from .report import Check, Outcome, measured, ratio
from .stand_in import Networks, networks_of

SLOTS = 2
_COPY_SHARE, _ENGINE_SHARE = 0.70, 0.92
_WIDTH, _HEIGHT = 1920, 1080
_COLUMNS, _ROWS = 8, 2
_WARM_ROUNDS = 3
_PICTURES = 4
_NETWORK_HEIGHT, _NETWORK_WIDTH = 256, 128


def crowd(frames: int) -> Cuts:
    """Frames of 1080p with 16 boxes each, upright and side by side."""
    random = np.random.default_rng(3)
    shape = (_PICTURES, _HEIGHT // 4, _WIDTH * 3 // 4)
    blocks = random.integers(0, 256, shape, np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    pictures: list[RawImage] = [
        replace(noise(), data=pixels.tobytes(), width=_WIDTH, height=_HEIGHT, stride=_WIDTH * 3, offset=0)
        for pixels in blocks
    ]
    return [(pictures[index % _PICTURES], _side_by_side(random)) for index in range(frames)]


def _side_by_side(random: np.random.Generator) -> list[PixelBox]:
    cell_width, cell_height = _WIDTH // _COLUMNS, _HEIGHT // _ROWS
    boxes = []
    for column in range(_COLUMNS):
        for row in range(_ROWS):
            width, height = int(random.integers(60, 200)), int(random.integers(160, 500))
            x1 = column * cell_width + int(random.integers(0, cell_width - width + 1))
            y1 = row * cell_height + int(random.integers(0, cell_height - height + 1))
            boxes.append(PixelBox(x1=x1, y1=y1, x2=x1 + width, y2=y1 + height))
    return boxes


def kernel_bandwidth(machine: Machine) -> Iterator[Check]:
    """The kernel's bandwidth for 1,024 and 2,048 crops of a usual size, in float16."""
    spec = replace(default_spec().input, height=_NETWORK_HEIGHT, width=_NETWORK_WIDTH)
    for frames in (machine.crowd, 2 * machine.crowd):
        cuts = crowd(frames)
        source = sum(3 * box.width * box.height for _, boxes in cuts for box in boxes)
        with closing(Launcher(machine, spec, OutputType.FP16, cuts)) as launcher:
            size = source + launcher.out_bytes
            kernel_ms = device_ms(machine, launcher.stream, launcher.launch)
            copy_ms = _copy_ms(machine, launcher.stream, size // 2)
            count = launcher.count
        how = (
            f"{size / kernel_ms / 1e6:.0f} of {size / copy_ms / 1e6:.0f} GB/s, {kernel_ms * 1e3 / count:.2f} us a crop"
        )
        yield ratio(f"kernel, {count} crops: bandwidth over a copy's", copy_ms / kernel_ms, _COPY_SHARE, how)


def _copy_ms(machine: Machine, stream: Stream, size: int) -> float:
    api = machine.context.api
    source, target = DeviceBuffer(machine.context, size), DeviceBuffer(machine.context, size)

    def copy() -> None:
        answer = api.cuMemcpyDtoDAsync(target.address, source.address, size, stream.handle)
        check(api, "cuMemcpyDtoDAsync", answer)

    with closing(source), closing(target):
        return device_ms(machine, stream, copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A network of ours: its name, and a function that writes its file into a folder."""

    name: str
    draw: Callable[[Path], Path]


def drawn() -> list[Drawn]:
    """Networks to measure with. Raises DeviceUnavailable without onnx, which builds them."""
    try:
        from .drawn_networks import osnet, resnet50  # noqa: PLC0415 - onnx is an extra
    except ImportError as error:
        raise DeviceUnavailable(f"the networks cannot be built: {error}") from error
    return [Drawn(name="ResNet-50", draw=resnet50), Drawn(name="OSNet", draw=osnet)]


def engine_beside_network(machine: Machine) -> Iterator[Check]:
    """The engine on staged frames, beside the network alone, launched back to back."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            networks = drawn()
        except DeviceUnavailable as error:
            yield Check(name="engine beside its network", outcome=Outcome.SKIPPED, value=str(error))
            return
        for network in networks:
            try:
                made = networks_of(
                    machine, network.draw(folder), OutputType.FP16, max_batch=machine.batch, slots=SLOTS, cache=folder
                )
            except DeviceUnavailable as error:
                yield Check(name="engine beside its network", outcome=Outcome.SKIPPED, value=str(error))
                return
            yield from _beside(machine, network.name, made)


def network_rate(machine: Machine, made: Networks, batch: int) -> float:
    """Crops/s of the network alone at its best: batches of one size back to back, on a stream for each slot."""
    streams = [Stream(machine.context) for _ in made.networks]
    begun, warm = 0.0, _warm_rounds(machine)
    for repeat in range(machine.repeats + warm):
        if repeat == warm:
            for stream in streams:
                stream.synchronize()
            begun = time.perf_counter()
        for network, stream in zip(made.networks, streams, strict=True):
            network.enqueue(stream, batch)
    for stream in streams:
        stream.synchronize()
    seconds = time.perf_counter() - begun
    for stream in streams:
        stream.close()
    return machine.repeats * len(streams) * batch / seconds


def _warm_rounds(machine: Machine) -> int:
    """Rounds that are not counted."""
    return min(machine.repeats, _WARM_ROUNDS)


def _beside(machine: Machine, name: str, made: Networks) -> Iterator[Check]:
    alone = {batch: network_rate(machine, made, batch) for batch in (machine.batch // 2, machine.batch)}
    decoder = CpuFrameDecoder(JpegDecoder(None))
    with (
        closing(CudaStager(machine.context, decoder, max_bytes=1 << 30)) as stager,
        closing(made.engine(machine)) as engine,
    ):
        staged = [(stager.stage(image, ()), boxes) for image, boxes in crowd(-(-machine.batch // (_COLUMNS * _ROWS)))]
        crops = [BoxCrop(frame=frame, box=box) for frame, boxes in staged for box in boxes]
        for batch, rate in alone.items():
            part, open_tickets, submitting = crops[:batch], deque[Ticket](), 0.0
            begun, warm = 0.0, _warm_rounds(machine)
            rounds = machine.repeats * SLOTS
            for repeat in range(rounds + warm):
                if repeat == warm:
                    while open_tickets:  # what was begun before is not counted, so it ends before
                        open_tickets.popleft().result()
                    begun, submitting = time.perf_counter(), 0.0
                if len(open_tickets) == SLOTS:
                    open_tickets.popleft().result()
                start = time.perf_counter()
                open_tickets.append(engine.submit(part))
                submitting += time.perf_counter() - start
            while open_tickets:
                open_tickets.popleft().result()
            found = rounds * batch / (time.perf_counter() - begun)
            how = f"{found:,.0f} of {rate:,.0f} crops/s by {made.library}"
            yield ratio(f"{name}, batches of {batch}: engine over network alone", found / rate, _ENGINE_SHARE, how)
            yield measured(f"{name}, batches of {batch}: submit", f"{submitting / rounds * 1e3:.3f} ms of the thread")
        for frame, _ in staged:
            frame.close()


def stage_times(machine: Machine) -> Iterator[Check]:
    """One raw frame of 1080p from the caller's memory to the device's."""
    (image, boxes), *_ = crowd(1)
    with closing(CudaStager(machine.context, CpuFrameDecoder(JpegDecoder(None)), max_bytes=1 << 28)) as stager:

        def stage() -> None:
            with stager.stage(image, boxes) as frame:
                frame.ready.synchronize()

        stage()
        begun = time.perf_counter()
        for _ in range(machine.repeats):
            stage()
        ms = (time.perf_counter() - begun) * 1e3 / machine.repeats
    yield measured("stage a raw frame of 1920 x 1080", f"{ms:.3f} ms, {len(image.data) / ms / 1e6:.1f} GB/s")


def device_ms(machine: Machine, stream: Stream, work: Callable[[], None]) -> float:
    """Milliseconds on the device's clock for one `work`, repeated back to back."""
    context: Context = machine.context
    first, last = Event(context, timing=True), Event(context, timing=True)
    with closing(first), closing(last):
        for _ in range(3):
            work()
        stream.record(first)
        for _ in range(machine.repeats):
            work()
        stream.record(last)
        last.synchronize()
        return last.ms_since(first) / machine.repeats
