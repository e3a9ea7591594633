"""A TensorRT that builds: the calls of `api.py`, on an ONNX file's own signature, failing in the ways of the real one.

Its plans are `PLAN:` and the model's bytes. `Script` says what goes wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx

KINDS = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.INT32: "INT32"}
PLAN = b"PLAN:"
TIMING = b"measured"


@dataclass(kw_only=True)
class Script:
    """What goes wrong. `parser_errors`: (description, node, operator); `phases`: (name, parent, steps)."""

    version: str = "11.4.0"
    fails: frozenset[str] = frozenset()
    says: str = "something is wrong"
    parser_errors: Sequence[tuple[str, str, str]] = ()
    phases: Sequence[tuple[str, str | None, int]] = (("Building", None, 2), ("Timing", "Building", 4))
    on_step: Any = None
    calls: list[str] = field(default_factory=list)
    timing: list[bytes] = field(default_factory=list)
    profiles: list[Any] = field(default_factory=list)
    builds: int = 0


class FakeTensorRt:
    """The module."""

    IProgressMonitor: Any = type("IProgressMonitor", (), {})
    LayerInformationFormat = SimpleNamespace(JSON="json")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    BuilderFlag = SimpleNamespace(TF32="TF32")
    ComputeCapability = SimpleNamespace(SM89="SM89")

    class ILogger:
        """Its own constructor must be called, as pybind11 insists."""

        def __init__(self) -> None:
            self.ready = True

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.__version__ = self.script.version

    def Builder(self, logger: Any, /) -> Any:  # noqa: N802 - TensorRT's name
        assert logger.ready
        if "Builder" in self.script.fails:
            raise TypeError("factory function returned nullptr")
        return FakeBuilder(self.script, logger)

    def OnnxParser(self, network: Any, logger: Any, /) -> Any:  # noqa: N802
        return FakeParser(self.script, network, logger)

    def Runtime(self, logger: Any, /) -> Any:  # noqa: N802
        raise AssertionError(f"without a driver a null pointer, for {logger}")


class FakeTensor:
    def __init__(self, info: Any) -> None:
        self.name = info.name
        shape = info.type.tensor_type.shape.dim
        self.shape = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in shape]
        self.dtype = SimpleNamespace(name=KINDS[info.type.tensor_type.elem_type])


class FakeNetwork:
    num_layers = 1

    def __init__(self) -> None:
        self.inputs: list[FakeTensor] = []
        self.outputs: list[FakeTensor] = []
        self.model = b""

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int, /) -> FakeTensor:
        return self.inputs[index]

    def get_output(self, index: int, /) -> FakeTensor:
        return self.outputs[index]

    def unmark_output(self, tensor: FakeTensor, /) -> None:
        self.outputs.remove(tensor)


class FakeParser:
    def __init__(self, script: Script, network: FakeNetwork, logger: Any) -> None:
        self._script, self._network, self._logger = script, network, logger

    @property
    def num_errors(self) -> int:
        return len(self._script.parser_errors)

    def get_error(self, index: int, /) -> Any:
        desc, node, operator = self._script.parser_errors[index]
        return SimpleNamespace(desc=lambda: desc, node_name=lambda: node, node_operator=lambda: operator)

    def parse(self, model: bytes, /) -> bool:
        if "parse" in self._script.fails:
            say(self._logger, self._script.says)
            return False
        graph = onnx.load_from_string(model).graph
        self._network.inputs = [FakeTensor(item) for item in graph.input]
        self._network.outputs = [FakeTensor(item) for item in graph.output]
        self._network.model = model
        return True


class FakeConfig:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.progress_monitor: Any = None
        self.profiling_verbosity: Any = None
        self.num_compute_capabilities = 0
        self.cleared: list[object] = []
        self._cache: Any = None

    def add_optimization_profile(self, profile: Any, /) -> int:
        if "add_optimization_profile" in self._script.fails:
            return -1
        self._script.profiles.append(profile.shapes)
        return 0

    def create_timing_cache(self, data: bytes, /) -> Any:
        self._script.timing.append(data)
        if "create_timing_cache" in self._script.fails:
            return None
        return SimpleNamespace(data=data, serialize=lambda: bytearray(data + TIMING))

    def set_timing_cache(self, cache: Any, mismatch: bool, /) -> bool:  # noqa: FBT001 - TensorRT's
        assert not mismatch
        if cache.data and "set_timing_cache" in self._script.fails:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    def clear_flag(self, flag: object, /) -> None:
        self._script.calls.append(f"clear {flag}")

    def set_compute_capability(self, capability: object, index: int, /) -> bool:
        self._script.calls.append(f"target {capability} {index}")
        return "set_compute_capability" not in self._script.fails


class FakeProfile:
    def __init__(self, script: Script) -> None:
        self._script = script
        self.shapes: Any = None

    def set_shape(self, *shapes: Any) -> bool | None:
        self.shapes = shapes
        return False if "set_shape" in self._script.fails else None


class FakeBuilder:
    def __init__(self, script: Script, logger: Any) -> None:
        self._script, self._logger = script, logger

    def create_network(self, flags: int, /) -> FakeNetwork | None:
        self._script.calls.append(f"network {flags}")
        return None if "create_network" in self._script.fails else FakeNetwork()

    def create_builder_config(self) -> FakeConfig | None:
        return None if "create_builder_config" in self._script.fails else FakeConfig(self._script)

    def create_optimization_profile(self) -> FakeProfile | None:
        return None if "create_optimization_profile" in self._script.fails else FakeProfile(self._script)

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig, /) -> Any:
        self._script.builds += 1
        if not self._report(config.progress_monitor) or "build" in self._script.fails:
            say(self._logger, self._script.says)
            return None
        return bytearray() if "empty" in self._script.fails else bytearray(PLAN + network.model)

    def _report(self, monitor: Any) -> bool:
        """Phases begin in their order and end in the opposite one, from another thread, as TensorRT does it."""
        if monitor is None:
            return True
        going: list[bool] = []

        def work() -> None:
            for name, parent, steps in self._script.phases:
                monitor.phase_start(name, parent, steps)
            for name, _, steps in reversed(self._script.phases):
                for step in range(steps):
                    going.append(monitor.step_complete(name, step))
                    if not going[-1]:
                        return
                monitor.phase_finish(name)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return all(going)


def say(logger: Any, text: str) -> None:
    logger.log(SimpleNamespace(name="VERBOSE"), "a thousand lines nobody asked for")
    logger.log(SimpleNamespace(name="ERROR"), text)
