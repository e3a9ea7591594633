"""The device that is checked, and the kernel alone on it.

Why alone: with the engine around it, nobody could tell whose fault a wrong pixel is. Trap: everything is made for one
check and given back after it, so that the next check begins with a clean device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.decoders import CpuFrameDecoder, DeviceDecoder
from reidstream_engines.cuda.driver import Context, DeviceBuffer, Module, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import OutputType, launch_shape, pack_crops, pack_frames, pack_spec
from reidstream_engines.cuda.nvimgcodec import open_nvimgcodec
from reidstream_engines.cuda.probe import CudaDevice
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.image import PixelBox, RawImage
from reidstream_engines.spec import InputSpec
from reidstream_engines.tensorrt.opened_plan import CropKernel

Floats = npt.NDArray[np.generic]

MAX_BATCH = 64


class _Closes(Protocol):
    def close(self) -> None: ...


_Made = TypeVar("_Made", bound=_Closes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The device, and how much is asked of it.

    `crops`: how many to embed while memory is watched. `crowd`: how many frames of 16 boxes for the kernel's speed.
    `repeats`: how often anything is timed. `batch`: the largest batch beside a network. `golden_batch`: the same,
    for golden vectors. `data`: folder with models and golden vectors. `open_decoder`: opens the device's JPEG decoder.
    """

    context: Context
    device: CudaDevice
    crop_kernel: CropKernel
    crops: int = 100_000
    crowd: int = 64
    repeats: int = 50
    batch: int = MAX_BATCH
    golden_batch: int = 32
    data: Path | None = None
    open_decoder: Callable[[Context], DeviceDecoder] = open_nvimgcodec


Cuts = Sequence[tuple[RawImage, Sequence[PixelBox]]]
"""Pictures, and the boxes of each."""


class Launcher:
    """The kernel alone, on staged frames."""

    def __init__(self, machine: Machine, spec: InputSpec, output: OutputType, cuts: Cuts) -> None:
        context = machine.context
        self._stack = ExitStack()
        keep = self._keep
        boxes = [(index, box) for index, (_, cut) in enumerate(cuts) for box in cut]
        count = len(boxes)
        self._spec, self._output, self.count = spec, output, count
        self.stream = keep(Stream(context))
        self._stager = keep(CudaStager(context, CpuFrameDecoder(JpegDecoder(None)), max_bytes=1 << 30))
        staged = [keep(self._stager.stage(image, ())) for image, _ in cuts]
        self._module = keep(Module(context, machine.crop_kernel(spec.resize, output), ENTRY))
        corners = [(box.x1, box.y1, box.x2, box.y2) for _, box in boxes]
        table = pack_frames([frame.pixels for frame in staged])
        crops = pack_crops(spec, frame=[index for index, _ in boxes], boxes=corners)
        self._frames = len(cuts)
        self.out_bytes = count * len(spec.mean) * spec.height * spec.width * output.dtype.itemsize
        self._arguments = keep(DeviceBuffer(context, table.nbytes + crops.nbytes))
        self._crops_at = self._arguments.address + table.nbytes
        here = keep(PinnedBuffer(context, self._arguments.size))
        here.array[...] = np.frombuffer(table.tobytes() + crops.tobytes(), np.uint8)
        self.out = keep(DeviceBuffer(context, self.out_bytes))
        self._back = keep(PinnedBuffer(context, self.out_bytes))
        self.stream.upload(self._arguments.address, here.address, here.size)
        for frame in staged:
            self.stream.wait(frame.ready)
        self.stream.synchronize()

    def _keep(self, made: _Made) -> _Made:
        self._stack.callback(made.close)
        return made

    def launch(self) -> None:
        """Enqueue the kernel."""
        address = self._arguments.address
        self._module.launch(
            self.stream,
            launch_shape(self._spec, self.count),
            (
                pack_spec(self._spec, self._output),
                np.array(address, np.uint64),
                np.array(self._frames, np.int32),
                np.array(self._crops_at, np.uint64),
                np.array(self.out.address, np.uint64),
            ),
        )

    def result(self) -> Floats:
        """Wait for the batch (count, C, H, W)."""
        self.stream.download(self._back.address, self.out.address, self.out_bytes)
        self.stream.synchronize()
        shape = (self.count, len(self._spec.mean), self._spec.height, self._spec.width)
        return self._back.array.view(self._output.dtype).reshape(shape).copy()

    def close(self) -> None:
        """Give everything back."""
        self.stream.synchronize()
        self._stack.close()
