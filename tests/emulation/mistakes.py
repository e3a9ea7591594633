"""Mistakes on a device, each of which the emulated driver must tell: `python -m tests.emulation.mistakes FOLDER`.

Why: a driver that finds nothing proves nothing. Each is made with our own owners of what a device lends, over the real
bindings, in a process of its own: a fork of one that has imported everything, and has not loaded the driver yet.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emulation.cases import network
from reidstream_engines.cuda.compile import ENTRY, crop_cubin
from reidstream_engines.cuda.driver import Context, DeviceBuffer, Event, Graph, Module, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import (
    DeviceFrame,
    LaunchShape,
    OutputType,
    launch_shape,
    pack_crops,
    pack_frames,
    pack_spec,
)
from reidstream_engines.cuda.probe import Probed, probe
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, Resize
from tests.emulation.emulated_cuda import ARCHITECTURE, KERNELS

SIZE = 1 << 16


class Device:
    """A context, two streams and two buffers of each kind."""

    def __init__(self, probed: Probed, index: int = 0) -> None:
        self.context = Context(probed.api, index)
        self.context.use()
        self.one, self.other = Stream(self.context), Stream(self.context)
        self.there, self.there_too = DeviceBuffer(self.context, SIZE), DeviceBuffer(self.context, SIZE)
        self.here, self.here_too = PinnedBuffer(self.context, SIZE), PinnedBuffer(self.context, SIZE)

    def close(self) -> None:
        self.one.synchronize()
        self.other.synchronize()
        for owned in (self.one, self.other, self.there, self.there_too, self.here, self.here_too, self.context):
            owned.close()


def none(device: Device) -> None:
    device.one.upload(device.there.address, device.here.address, SIZE)
    event = Event(device.context)
    device.one.record(event)
    device.other.wait(event)
    device.other.download(device.here_too.address, device.there.address, SIZE)
    device.other.synchronize()
    assert device.here_too.array.tobytes() == device.here.array.tobytes()
    event.close()


def changes_the_source(device: Device) -> None:
    device.one.upload(device.there.address, device.here.address, SIZE)
    device.here.array[7] = 0


def frees_too_early(device: Device) -> None:
    device.one.upload(device.there.address, device.here.address, SIZE)
    device.there.close()


def forgets_an_event(device: Device) -> None:
    device.one.upload(device.there.address, device.here.address, SIZE)
    device.other.download(device.here_too.address, device.there.address, SIZE)


def reads_too_early(device: Device) -> None:
    device.here_too.array[:] = 5
    device.one.zero(device.there.address, SIZE)
    device.one.download(device.here_too.address, device.there.address, SIZE)
    sys.stdout.write(f"read {device.here_too.array[-1]}\n")


def touches_the_device(device: Device) -> None:
    sys.stdout.write(str(ctypes.string_at(device.there.address, 1)))


def copies_what_is_not_pinned(device: Device) -> None:
    device.one.upload(device.there.address, int(np.zeros(SIZE, np.uint8).ctypes.data), SIZE)


def copies_too_much(device: Device) -> None:
    device.one.upload(device.there.address, device.here.address, SIZE + 1)


def copies_the_other_way(device: Device) -> None:
    device.one.upload(device.here.address, device.there.address, SIZE)


def waits_while_capturing(device: Device) -> None:
    Graph(device.one, device.one.synchronize)


def allocates_while_capturing(device: Device) -> None:
    Graph(device.one, lambda: DeviceBuffer(device.context, SIZE).close())


def destroys_a_busy_stream(device: Device) -> None:
    stream = Stream(device.context)
    stream.upload(device.there.address, device.here.address, SIZE)
    stream.close()


def leaks(device: Device) -> None:
    DeviceBuffer(device.context, SIZE)
    Event(device.context)


def uses_another_devices_stream(device: Device) -> None:
    second = Device(Probed(api=device.context.api, devices=()), 1)
    second.context.use()
    device.one.zero(second.there.address, SIZE)


def launches(device: Device, *, block: int = 0, frame_bytes: int = SIZE, out_bytes: int = 0) -> None:
    """Two crops of a gray picture as large as `frame_bytes`, taken for SIZE bytes."""
    source = network(Resize.OPENCV_BILINEAR, ColorOrder.RGB, Fit.STRETCH, (64, 128))
    frame = DeviceFrame(
        data=device.there.address + SIZE - frame_bytes,
        format=PixelFormat.GRAY,
        width=256,
        height=256,
        pitch=256,
        chroma_pitch=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )
    table, crops = pack_frames([frame]), pack_crops(source, frame=[0, 0], boxes=[(0, 0, 256, 256)] * 2)
    device.here.array[: table.nbytes] = np.frombuffer(table.tobytes(), np.uint8)
    device.here.array[1024 : 1024 + crops.nbytes] = np.frombuffer(crops.tobytes(), np.uint8)
    device.one.upload(device.there_too.address, device.here.address, SIZE)
    cache = Path(os.environ["EMULATED_CUDA_KERNELS"]) / KERNELS
    cubin = crop_cubin(source.resize, OutputType.FP32, architecture=ARCHITECTURE, cache=cache)
    module = Module(device.context, cubin.image, ENTRY)
    out = DeviceBuffer(device.context, out_bytes or 2 * 3 * source.height * source.width * 4)
    shape = launch_shape(source, 2)
    arguments = (
        pack_spec(source, OutputType.FP32),
        np.array(device.there_too.address, np.uint64),
        np.array(1, np.int32),
        np.array(device.there_too.address + 1024, np.uint64),
        np.array(out.address, np.uint64),
    )
    module.launch(device.one, LaunchShape(grid=shape.grid, block=(block or shape.block[0], 1, 1)), arguments)
    device.one.synchronize()
    out.close()
    module.close()


MISTAKES: dict[str, Callable[[Device], None]] = {
    made.__name__: made
    for made in (
        *(none, changes_the_source, frees_too_early, forgets_an_event, reads_too_early, touches_the_device),
        *(copies_what_is_not_pinned, copies_too_much, copies_the_other_way, waits_while_capturing),
        *(allocates_while_capturing, destroys_a_busy_stream, leaks, uses_another_devices_stream),
    )
} | {
    "launches": launches,
    "launches_too_large_a_block": lambda device: launches(device, block=256),
    "launches_on_too_small_a_picture": lambda device: launches(device, frame_bytes=SIZE - 256),
    "launches_into_too_small_a_batch": lambda device: launches(device, out_bytes=4096),
}


def make(name: str) -> None:
    device = Device(probe())
    MISTAKES[name](device)
    device.close()


def main() -> None:
    """Make each. The folder then has NAME.status (the exit code, or a signal's number below 0), .said and .report."""
    folder = Path(sys.argv[1])
    for name in MISTAKES:
        child = os.fork()
        if not child:
            os.environ["EMULATED_CUDA_REPORT"] = str(folder / f"{name}.report")
            said = os.open(folder / f"{name}.said", os.O_WRONLY | os.O_CREAT)
            os.dup2(said, sys.stdout.fileno())
            os.dup2(said, sys.stderr.fileno())
            make(name)
            return
        _, status = os.waitpid(child, 0)
        (folder / f"{name}.status").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
