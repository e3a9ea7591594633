"""A plan's network in TensorRT: one execution context, with its own buffers, whose addresses never change.

Why every answer is checked: TensorRT reports a failure by None or False and goes on, and a batch that did not run would
get the vectors of the batch before. Traps: a context runs one batch at a time. After a shape was set, TensorRT must
infer shapes before it can enqueue. A plan with a fixed batch runs piece by piece; the last piece is padded with old
data.
"""

from __future__ import annotations

from math import prod

import numpy as np
from typing_extensions import override

from reidstream_engines.cuda.driver import Context, DeviceBuffer, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import EngineFault, ModelError
from reidstream_engines.spec import ModelSpec

from .api import CudaEngine, ExecutionContext, Runtime, TensorType, tensor_type
from .messages import Messages
from .network import DeviceNetwork

_INPUT_TYPES = {TensorType.FP32: OutputType.FP32, TensorType.FP16: OutputType.FP16}


def deserialize(runtime: Runtime, plan: bytes, messages: Messages) -> CudaEngine:
    """Deserialise a plan on the current device. Holds the GIL for seconds, so only do it before serving. Raises
    ModelError.
    """
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelError(f"TensorRT refuses the plan{messages.text()}")
    return engine


class TensorRtNetwork(DeviceNetwork):
    """Making one raises ModelError if the plan does not have the spec's tensors or takes fewer crops than `max_batch`,
    and OutOfDeviceMemory or EngineFault if the device cannot run it.
    """

    def __init__(
        self, engine: CudaEngine, spec: ModelSpec, context: Context, *, max_batch: int, messages: Messages
    ) -> None:
        self._messages = messages
        self._input, self._output = spec.input.name, spec.output.name
        self._row_shape = (len(spec.input.mean), spec.input.height, spec.input.width)
        self._dim = spec.output.dim
        self._max_batch = max_batch
        _check_tensors(engine, (self._input, self._output))
        found = tensor_type(engine.get_tensor_dtype(self._input))
        if found not in _INPUT_TYPES:
            raise ModelError(f"the plan's input is {found.value}; it must be float32 or float16")
        self._input_type = _INPUT_TYPES[found]
        self._output_dtype: np.dtype[np.generic] = np.dtype(tensor_type(engine.get_tensor_dtype(self._output)).value)
        if self._output_dtype.kind != "f":
            raise ModelError(f"the plan's output is {self._output_dtype}; it must be float32 or float16")
        self._piece = self._fixed_batch(engine)
        self._shaped = 0
        execution = engine.create_execution_context()
        if execution is None:
            raise EngineFault(f"TensorRT cannot make an execution context{messages.text()}")
        self._execution: ExecutionContext | None = execution
        self._engine: CudaEngine | None = engine  # must live longer than its contexts
        rows = max_batch if self._piece is None else -(-max_batch // self._piece) * self._piece
        self._in_row = prod(self._row_shape) * self._input_type.dtype.itemsize
        self._out_row = self._dim * self._output_dtype.itemsize
        self._in = DeviceBuffer(context, rows * self._in_row)
        try:
            self._out = DeviceBuffer(context, rows * self._out_row)
        except BaseException:
            self._in.close()
            raise
        try:
            self._start(context, execution)
        except BaseException:
            self.close()
            raise

    @property
    @override
    def max_batch(self) -> int:
        return self._max_batch

    @property
    @override
    def input_type(self) -> OutputType:
        return self._input_type

    @property
    @override
    def output_dtype(self) -> np.dtype[np.generic]:
        return self._output_dtype

    @property
    @override
    def input_address(self) -> int:
        return self._in.address

    @property
    @override
    def output_address(self) -> int:
        return self._out.address

    @override
    def enqueue(self, stream: Stream, count: int) -> None:
        if not 1 <= count <= self._max_batch:
            raise EngineFault(f"the plan takes 1 to {self._max_batch} crops, not {count}")
        execution = self._execution
        if execution is None:
            raise EngineFault("the network is closed")
        if self._piece is None:
            self._shape(execution, count)
            self._require("execute_async_v3", execution.execute_async_v3(stream.address))
            return
        for first in range(0, count, self._piece):
            self._place(execution, first)
            self._require("execute_async_v3", execution.execute_async_v3(stream.address))

    @override
    def close(self) -> None:
        self._execution = None
        self._engine = None
        self._in.close()
        self._out.close()

    def _start(self, context: Context, execution: ExecutionContext) -> None:
        stream = Stream(context)
        try:
            stream.zero(self._in.address, self._in.size)  # so that rows that pad a batch are finite numbers
            stream.synchronize()
        finally:
            stream.close()
        self._place(execution, 0)
        if self._piece is not None:
            self._shape(execution, self._piece)

    def _fixed_batch(self, engine: CudaEngine) -> int | None:
        taken, given = tuple(engine.get_tensor_shape(self._input)), tuple(engine.get_tensor_shape(self._output))
        batch = taken[0] if taken else -1
        if taken[1:] != self._row_shape or given != (batch, self._dim) or (batch < 1 and batch != -1):
            raise ModelError(
                f"the plan maps {taken} to {given}; the spec needs (batch, {', '.join(map(str, self._row_shape))}) "
                f"to (batch, {self._dim})"
            )
        if batch != -1:
            return batch
        shapes = engine.get_tensor_profile_shape(self._input, 0)
        least, most = shapes[0][0], shapes[-1][0]
        if least > 1 or most < self._max_batch:
            raise ModelError(f"the plan takes {least} to {most} crops at a time; 1 to {self._max_batch} are needed")
        return None

    def _shape(self, execution: ExecutionContext, count: int) -> None:
        if count == self._shaped:
            return
        self._shaped = 0
        self._require("set_input_shape", execution.set_input_shape(self._input, (count, *self._row_shape)))
        lacking = execution.infer_shapes()
        if lacking:
            raise EngineFault(f"TensorRT has no shape or address for {list(lacking)}{self._messages.text()}")
        given = tuple(execution.get_tensor_shape(self._output))
        if given != (count, self._dim):
            raise EngineFault(f"TensorRT answers {given} for {count} crops; ({count}, {self._dim}) is expected")
        self._shaped = count

    def _place(self, execution: ExecutionContext, first: int) -> None:
        """Let the context begin at row `first` of both buffers."""
        for name, address in (
            (self._input, self._in.address + first * self._in_row),
            (self._output, self._out.address + first * self._out_row),
        ):
            self._require("set_tensor_address", execution.set_tensor_address(name, address))

    def _require(self, call: str, answer: object) -> None:
        if answer is not True:
            raise EngineFault(f"TensorRT's {call} answered {answer!r}{self._messages.text()}")


def _check_tensors(engine: CudaEngine, wanted: tuple[str, str]) -> None:
    modes = ("INPUT", "OUTPUT")
    found = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    described = ", ".join(f"{name} ({engine.get_tensor_mode(name).name.lower()})" for name in found)
    if sorted(found) != sorted(wanted) or [engine.get_tensor_mode(name).name for name in wanted] != list(modes):
        raise ModelError(f"the plan has {described or 'no tensors'}; the spec's are {wanted[0]} and {wanted[1]}")
