"""A network in torch on our streams: the stand-in where a GPU machine has torch and no TensorRT.

Every batch size is a CUDA graph, as with TensorRT in the engine, so both are compared with one launch for a batch.
Traps: torch's allocator must not be called while a graph is captured, so each size runs a few times before. And float32
is real float32 here, without the shorter mantissa that torch would use for convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch

from reidstream_engines.cuda.driver import Context, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import EngineFault
from reidstream_engines.spec import ModelSpec

from .torch_graph import TorchGraph

_WARM_RUNS = 3
_DTYPES = {OutputType.FP32: torch.float32, OutputType.FP16: torch.float16}


class TorchNetwork:
    """See `DeviceNetwork`. The model's input has `input_type`. `sizes`: of batches; the largest is `max_batch`."""

    def __init__(
        self, model: onnx.ModelProto, spec: ModelSpec, context: Context, *, input_type: OutputType, sizes: Sequence[int]
    ) -> None:
        context.use()
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self._device = torch.device("cuda", context.index)
        self._sizes = sorted(sizes)
        self.max_batch = self._sizes[-1]
        self.input_type = input_type
        self.output_dtype: np.dtype[np.generic] = np.dtype(np.float32)
        shape = (self.max_batch, len(spec.input.mean), spec.input.height, spec.input.width)
        with torch.cuda.device(self._device):
            self._in = torch.zeros(shape, dtype=_DTYPES[input_type], device=self._device)
            self._out = torch.zeros((self.max_batch, spec.output.dim), dtype=torch.float32, device=self._device)
            self._graph = TorchGraph(model, str(self._device))
            self._captured = {size: self._capture(size) for size in reversed(self._sizes)}
            torch.cuda.synchronize(self._device)

    @property
    def input_address(self) -> int:
        """See `DeviceNetwork`."""
        return int(self._in.data_ptr())

    @property
    def output_address(self) -> int:
        """See `DeviceNetwork`."""
        return int(self._out.data_ptr())

    def enqueue(self, stream: Stream, count: int) -> None:
        """See `DeviceNetwork`."""
        size = next((size for size in self._sizes if size >= count), None)
        if size is None:
            raise EngineFault(f"the network takes up to {self.max_batch} crops, not {count}")
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.address, device=self._device)):
            self._captured[size].replay()

    def close(self) -> None:
        """See `DeviceNetwork`."""
        self._captured.clear()

    def _capture(self, size: int) -> torch.cuda.CUDAGraph:
        torch.backends.cudnn.benchmark = 2 * size >= self.max_batch  # seconds for each size; small ones seldom run
        side = torch.cuda.Stream(self._device)
        with torch.cuda.stream(side):
            for _ in range(_WARM_RUNS):
                self._run(size)
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self._run(size)
        return graph

    def _run(self, size: int) -> None:
        batch = self._in[:size].contiguous(memory_format=torch.channels_last)
        self._out[:size].copy_(self._graph(batch))
