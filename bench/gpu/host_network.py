"""An ONNX network on the CPU in the place of TensorRT: its input is copied from the device, its rows back to it.

Why: it needs no more packages than the CPU engine. So a machine with a GPU but without TensorRT can check everything
else: uploads, the kernel, slots, streams, copies. Trap: it waits for the device, so its times mean nothing, and it
cannot be captured in a graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reidstream_engines.cpu.onnxruntime_network import OnnxRuntimeNetwork, open_onnxruntime
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cuda.driver import Context, DeviceBuffer, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.spec import ModelSpec


class HostNetwork:
    """See `DeviceNetwork`."""

    def __init__(
        self, path: Path, spec: ModelSpec, context: Context, *, max_batch: int, input_type: OutputType
    ) -> None:
        options = OnnxOptions()
        self._session = OnnxRuntimeNetwork(open_onnxruntime(path, options), spec, options.providers)
        self._shape = (len(spec.input.mean), spec.input.height, spec.input.width)
        self._dim = spec.output.dim
        self.max_batch = max_batch
        self.input_type = input_type
        self.output_dtype: np.dtype[np.generic] = np.dtype(np.float32)
        crop_bytes = int(np.prod(self._shape)) * input_type.dtype.itemsize
        self._in = DeviceBuffer(context, max_batch * crop_bytes)
        self._out = DeviceBuffer(context, max_batch * self._dim * 4)
        self._in_here = PinnedBuffer(context, self._in.size)
        self._out_here = PinnedBuffer(context, self._out.size)

    @property
    def input_address(self) -> int:
        """See `DeviceNetwork`."""
        return self._in.address

    @property
    def output_address(self) -> int:
        """See `DeviceNetwork`."""
        return self._out.address

    def enqueue(self, stream: Stream, count: int) -> None:
        """See `DeviceNetwork`. Returns when it is computed."""
        size = self._in.size // self.max_batch * count
        stream.download(self._in_here.address, self._in.address, size)
        stream.synchronize()
        rows = self._in_here.array[:size].view(self.input_type.dtype).reshape(count, *self._shape)
        found = self._session.run(rows.astype(np.float32))
        self._out_here.array[: found.nbytes].view(np.float32)[...] = found.ravel()
        stream.upload(self._out.address, self._out_here.address, found.nbytes)

    def close(self) -> None:
        """See `DeviceNetwork`."""
        for buffer in (self._in, self._out, self._in_here, self._out_here):
            buffer.close()
