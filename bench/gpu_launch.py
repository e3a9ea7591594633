"""The device that is checked, and the kernel alone on it.

Why alone: what the engine wraps around it would hide whose fault a wrong pixel is. Trap: everything is made and given
back for one check, so that the next one begins with a clean device.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from reidstream_engines.cpu.jpeg import JpegDecoder
from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.decoding import CpuFrameDecoder
from reidstream_engines.cuda.driver import Context, DeviceBuffer, Module, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import (
    CROP,
    FRAME,
    OutputType,
    launch_shape,
    pack_crops,
    pack_frames,
    pack_spec,
)
from reidstream_engines.cuda.probe import CudaDevice
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.image import RawImage
from reidstream_engines.selftest import noise_boxes
from reidstream_engines.spec import InputSpec
from reidstream_engines.tensorrt.opening import CropKernel

Floats = npt.NDArray[np.generic]


class _Closes(Protocol):
    def close(self) -> None: ...


_Made = TypeVar("_Made", bound=_Closes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device that is there. `crops`: how many to embed while memory is watched."""

    context: Context
    device: CudaDevice
    crop_kernel: CropKernel
    crops: int


class Launcher:
    """The kernel alone, on one staged frame."""

    def __init__(self, machine: Machine, spec: InputSpec, output: OutputType, image: RawImage, count: int) -> None:
        context = machine.context
        self._stack = ExitStack()
        keep = self._keep
        self.boxes = noise_boxes(count)
        self._spec, self._output, self.count = spec, output, count
        self.stream = keep(Stream(context))
        self._stager = keep(CudaStager(context, CpuFrameDecoder(JpegDecoder(None)), max_bytes=1 << 28))
        self._frame = keep(self._stager.stage(image, ()))
        self._module = keep(Module(context, machine.crop_kernel(spec.resize, output), ENTRY))
        corners = [(box.x1, box.y1, box.x2, box.y2) for box in self.boxes]
        table, crops = pack_frames([self._frame.pixels]), pack_crops(spec, frame=[0] * count, boxes=corners)
        self.out_bytes = count * len(spec.mean) * spec.height * spec.width * output.dtype.itemsize
        self._arguments = keep(DeviceBuffer(context, FRAME.itemsize + count * CROP.itemsize))
        here = keep(PinnedBuffer(context, self._arguments.size))
        here.array[...] = np.frombuffer(table.tobytes() + crops.tobytes(), np.uint8)
        self.out = keep(DeviceBuffer(context, self.out_bytes))
        self._back = keep(PinnedBuffer(context, self.out_bytes))
        self.stream.upload(self._arguments.address, here.address, here.size)
        self.stream.wait(self._frame.ready)
        self.stream.synchronize()

    def _keep(self, made: _Made) -> _Made:
        self._stack.callback(made.close)
        return made

    def launch(self) -> None:
        """Enqueue it."""
        address = self._arguments.address
        self._module.launch(
            self.stream,
            launch_shape(self._spec, self.count),
            (
                pack_spec(self._spec, self._output),
                np.array(address, np.uint64),
                np.array(1, np.int32),
                np.array(address + FRAME.itemsize, np.uint64),
                np.array(self.out.address, np.uint64),
            ),
        )

    def result(self) -> Floats:
        """The batch (count, C, H, W)."""
        self.stream.download(self._back.address, self.out.address, self.out_bytes)
        self.stream.synchronize()
        shape = (self.count, len(self._spec.mean), self._spec.height, self._spec.width)
        return self._back.array.view(self._output.dtype).reshape(shape).copy()

    def close(self) -> None:
        """Give everything back."""
        self.stream.synchronize()
        self._stack.close()
