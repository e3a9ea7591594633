"""A TensorRT without a device: its runtime's calls, on streams of a fake or an emulated driver, computing with
onnxruntime.

Its plans are ONNX files. `Script` has it fail in the ways of the real one: None, False, wrong shapes, a lost device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from reidstream_engines.tensorrt.messages import Messages
from tests.unit.engines.cuda.fake_driver import Trouble

Shape = tuple[int, ...]
Bytes = NDArray[np.uint8]
Range = tuple[int, int]
"""An address on the device, and a size in bytes."""

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(kw_only=True)
class Script:
    """What this TensorRT is like, and what goes wrong. `batch`: None for a dynamic one."""

    batch: int | None = None
    profile: tuple[int, int] = (1, 64)
    half: bool = False
    refuses_plan: bool = False
    no_context: bool = False
    refused: set[str] = field(default_factory=set)
    lacking: Sequence[str] = ()
    output_shape: Shape | None = None
    lost_while_running: bool = False
    not_capturable: bool = False
    raises: Exception | None = None


class Driver(Protocol):
    """What a driver without a device does for a library. A stream is a number."""

    def compute(self, stream: int, taken: Range, given: Range, work: Callable[[Bytes, Bytes], None]) -> None:
        """Have `work` done in its turn, from the bytes of the one range to those of the other."""
        ...

    def capturing(self, stream: int, *, breaks: bool = False) -> bool:
        """Whether it is being captured. `breaks`: then it cannot be."""
        ...


class FakeRuntime:
    """IRuntime. `said` is its logger."""

    def __init__(self, driver: Driver, script: Script, said: Messages) -> None:
        self._driver = driver
        self._script = script
        self._said = said

    def deserialize_cuda_engine(self, plan: bytes, /) -> FakeEngine | None:
        if self._script.refuses_plan:
            self._said.add("ERROR", "the plan was made by another version")
            return None
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # every result in its own type
        session = ort.InferenceSession(plan, options, providers=["CPUExecutionProvider"])
        return FakeEngine(self._driver, self._script, self._said, session)


class FakeEngine:
    """ICudaEngine of one input and one output."""

    num_layers = 1
    num_optimization_profiles = 1
    device_memory_size_v2 = 1 << 20

    def __init__(self, driver: Driver, script: Script, said: Messages, session: Any) -> None:
        self.driver, self.script, self.said, self.session = driver, script, said, session
        tensors = (session.get_inputs()[0], session.get_outputs()[0])
        self.names = [tensor.name for tensor in tensors]
        batch = -1 if script.batch is None else script.batch
        self.shapes = {tensor.name: (batch, *tensor.shape[1:]) for tensor in tensors}
        self.computed = {tensor.name: np.dtype(_TYPES[tensor.type]) for tensor in tensors}

    @property
    def num_io_tensors(self) -> int:
        return len(self.names)

    def dtype(self, name: str) -> np.dtype[np.generic]:
        """Of its tensor; the network itself may compute in another."""
        return np.dtype(np.float16) if self.script.half else self.computed[name]

    def get_tensor_name(self, index: int, /) -> str:
        return str(self.names[index])

    def get_tensor_mode(self, name: str, /) -> Any:
        return SimpleNamespace(name="INPUT" if name == self.names[0] else "OUTPUT")

    def get_tensor_dtype(self, name: str, /) -> Any:
        return SimpleNamespace(name="HALF" if self.dtype(name) == np.float16 else "FLOAT")

    def get_tensor_shape(self, name: str, /) -> Shape:
        return self.shapes[name]

    def get_tensor_profile_shape(self, name: str, profile: int, /) -> list[Shape]:
        del profile
        least, most = self.script.profile
        return [(count, *self.shapes[name][1:]) for count in (least, most, most)]

    def create_execution_context(self) -> FakeContext | None:
        if self.script.no_context:
            self.said.add("ERROR", "no memory for a context")
            return None
        return FakeContext(self)

    def create_engine_inspector(self) -> None:
        return None


class FakeContext:
    """IExecutionContext."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._batch = 0
        self.runs: list[int] = []
        self._warm: set[int] = set()

    def set_input_shape(self, name: str, shape: Shape, /) -> bool:
        assert name == self._engine.names[0]
        if self._refuses("set_input_shape"):
            return False
        self._batch = shape[0]
        return True

    def get_tensor_shape(self, name: str, /) -> Shape:
        return self._engine.script.output_shape or (self._batch, *self._engine.shapes[name][1:])

    def infer_shapes(self) -> Sequence[str]:
        return self._engine.script.lacking

    def set_tensor_address(self, name: str, address: int, /) -> bool:
        if self._refuses("set_tensor_address"):
            return False
        self._addresses[name] = address
        return True

    def set_optimization_profile_async(self, index: int, stream: int, /) -> bool:
        del stream
        return index == 0

    def execute_async_v3(self, stream: int, /) -> bool:
        engine, script = self._engine, self._engine.script
        if script.raises is not None:
            raise script.raises
        if self._refuses("execute_async_v3") or not self._batch or len(self._addresses) != 2:
            return False
        cold = script.not_capturable or self._batch not in self._warm
        if cold and engine.driver.capturing(stream, breaks=True):
            engine.said.add("ERROR", "a layer cannot be captured")
            return False
        self._warm.add(self._batch)
        batch = self._batch
        ranges = [
            (self._addresses[name], batch * prod(engine.shapes[name][1:]) * engine.dtype(name).itemsize)
            for name in engine.names
        ]
        engine.driver.compute(stream, ranges[0], ranges[1], partial(self._compute, batch))
        return True

    def _compute(self, batch: int, source: Bytes, target: Bytes) -> None:
        engine = self._engine
        if engine.script.lost_while_running:
            raise Trouble("LAUNCH_FAILED")
        self.runs.append(batch)
        taken, given = engine.names
        rows = source.view(engine.dtype(taken)).reshape(batch, *engine.shapes[taken][1:])
        (vectors,) = engine.session.run(None, {taken: rows.astype(engine.computed[taken])})
        target[:] = np.ascontiguousarray(vectors, engine.dtype(given)).view(np.uint8).ravel()

    def _refuses(self, call: str) -> bool:
        if call in self._engine.script.refused:
            self._engine.said.add("ERROR", f"{call} will not do")
            return True
        return False
