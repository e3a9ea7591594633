"""The few calls of TensorRT that are used here, as types; and the one place that imports TensorRT.

Why Protocols: TensorRT has no type stubs, and three packages have these same calls: `tensorrt` 10 and 11 and
`tensorrt_rtx` (`tensorrt` 8.6 has those of the runtime). For a test, a fake with these calls is a whole TensorRT.

Traps: a failure is returned as None or False, not raised, and its text goes to the logger. So nearly every result here
is optional, and mypy ensures that it is checked. Without a driver `Runtime(logger)` is an object over a null pointer,
and its next call ends the process: ask the driver for a device first. Objects must be released in the reverse order:
contexts, engine, runtime, logger.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol, cast

from reidstream_engines.errors import DeviceUnavailable, ModelError

_INSTALL = {
    "tensorrt": "NVIDIA's TensorRT container has it; elsewhere: pip install tensorrt --extra-index-url URL, "
    "with the URL of NVIDIA's package index (docs/gpu.md)",
    "tensorrt_rtx": "pip install tensorrt-rtx",
}


class Flavour(Enum):
    """Which TensorRT. The value is the package that is imported."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt_rtx"


class TensorType(Enum):
    """The types of inputs and outputs. The value is also numpy's name for it."""

    FP32 = "float32"
    FP16 = "float16"
    UINT8 = "uint8"


_TENSOR_TYPES = {"FLOAT": TensorType.FP32, "HALF": TensorType.FP16, "UINT8": TensorType.UINT8}


class Named(Protocol):
    """A member of one of TensorRT's enums; its name is the same in all versions."""

    @property
    def name(self) -> str: ...


class ExecutionContext(Protocol):
    """IExecutionContext. One thread at a time."""

    def set_input_shape(self, name: str, shape: tuple[int, ...], /) -> bool: ...
    def get_tensor_shape(self, name: str, /) -> Sequence[int]: ...
    def infer_shapes(self) -> Sequence[str]:
        """The names of the tensors without a shape or an address; empty if every tensor has both."""
        ...

    def set_tensor_address(self, name: str, address: int, /) -> bool: ...
    def set_optimization_profile_async(self, index: int, stream: int, /) -> bool: ...
    def execute_async_v3(self, stream: int, /) -> bool:
        """Only enqueues. Releases the GIL."""
        ...


class Inspector(Protocol):
    """EngineInspector."""

    def get_engine_information(self, form: object, /) -> str: ...


class CudaEngine(Protocol):
    """ICudaEngine. Shapes have -1 for a dynamic axis. See also `device_memory_size`, below."""

    @property
    def num_io_tensors(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def num_optimization_profiles(self) -> int: ...
    def get_tensor_name(self, index: int, /) -> str: ...
    def get_tensor_mode(self, name: str, /) -> Named:
        """INPUT or OUTPUT."""
        ...

    def get_tensor_dtype(self, name: str, /) -> Named: ...
    def get_tensor_shape(self, name: str, /) -> Sequence[int]: ...
    def get_tensor_profile_shape(self, name: str, profile: int, /) -> Sequence[Sequence[int]]:
        """The smallest, the usual and the largest shape of an input."""
        ...

    def create_execution_context(self) -> ExecutionContext | None: ...
    def create_engine_inspector(self) -> Inspector | None: ...


class Runtime(Protocol):
    """IRuntime; see the trap above."""

    def deserialize_cuda_engine(self, plan: bytes, /) -> CudaEngine | None: ...


class Tensor(Protocol):
    """ITensor, in a network that is being built."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def dtype(self) -> Named: ...


class Network(Protocol):
    """INetworkDefinition."""

    @property
    def num_inputs(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    def get_input(self, index: int, /) -> Tensor: ...
    def get_output(self, index: int, /) -> Tensor: ...
    def unmark_output(self, tensor: Tensor, /) -> None: ...


class ParserError(Protocol):
    """An error of the ONNX parser, about one node."""

    def desc(self) -> str: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class Parser(Protocol):
    """OnnxParser."""

    @property
    def num_errors(self) -> int: ...
    def get_error(self, index: int, /) -> ParserError: ...
    def parse(self, model: bytes, /) -> bool: ...


class OptimizationProfile(Protocol):
    """IOptimizationProfile. In some versions `set_shape` returns None, so only False is a failure."""

    def set_shape(
        self, name: str, least: tuple[int, ...], usual: tuple[int, ...], largest: tuple[int, ...], /
    ) -> bool | None: ...


class TimingCache(Protocol):
    """ITimingCache: how fast each layer ran with each kernel, so that the next build need not measure it again."""

    def serialize(self) -> Any: ...  # noqa: ANN401 - IHostMemory, a buffer


class BuilderConfig(Protocol):
    """IBuilderConfig."""

    progress_monitor: object
    profiling_verbosity: object
    num_compute_capabilities: int
    """Only in tensorrt_rtx."""

    def add_optimization_profile(self, profile: OptimizationProfile, /) -> int:
        """Its index, or -1."""
        ...

    def create_timing_cache(self, data: bytes, /) -> TimingCache | None: ...
    def set_timing_cache(self, cache: TimingCache, mismatch: bool, /) -> bool: ...  # noqa: FBT001 - TensorRT's
    def get_timing_cache(self) -> TimingCache | None: ...
    def clear_flag(self, flag: object, /) -> None: ...
    def set_compute_capability(self, capability: object, index: int, /) -> bool:
        """Only in tensorrt_rtx."""
        ...


class Builder(Protocol):
    """IBuilder."""

    def create_network(self, flags: int, /) -> Network | None: ...
    def create_builder_config(self) -> BuilderConfig | None: ...
    def create_optimization_profile(self) -> OptimizationProfile | None: ...
    def build_serialized_network(self, network: Network, config: BuilderConfig, /) -> Any: ...  # noqa: ANN401 - a buffer


class TensorRt(Protocol):
    """The module. Enums are `Any`: their members differ between versions, and are looked up by name."""

    __version__: str
    ILogger: Any
    """To be derived from: `log(severity, message)`."""
    IProgressMonitor: Any
    """To be derived from; not in 8.6."""
    BuilderFlag: Any
    ComputeCapability: Any
    """Only in tensorrt_rtx."""
    LayerInformationFormat: Any
    NetworkDefinitionCreationFlag: Any
    ProfilingVerbosity: Any

    def Builder(self, logger: object, /) -> Builder: ...  # noqa: N802 - TensorRT's name
    def OnnxParser(self, network: Network, logger: object, /) -> Parser: ...  # noqa: N802
    def Runtime(self, logger: object, /) -> Runtime: ...  # noqa: N802


def load_tensorrt(flavour: Flavour) -> TensorRt:
    """Import TensorRT. Raises DeviceUnavailable, which says how to install it."""
    try:
        module = importlib.import_module(flavour.value)
        module.__version__, module.Builder  # noqa: B018 - an empty folder with this name can be imported, too
    except (ImportError, OSError, AttributeError, RuntimeError) as error:  # importing it loads its libraries
        raise DeviceUnavailable(
            f"the package {flavour.value} cannot be loaded ({error}); {_INSTALL[flavour.value]}"
        ) from error
    return cast("TensorRt", module)


def major_version(trt: TensorRt) -> int:
    """The major version: 8, 10 or 11. tensorrt_rtx has numbers of its own, from 1."""
    return int(trt.__version__.split(".")[0])


def tensor_type(dtype: Named) -> TensorType:
    """The type of a tensor. Raises ModelError for a type that is not supported."""
    try:
        return _TENSOR_TYPES[dtype.name]
    except KeyError:
        raise ModelError(
            f"a tensor has type {dtype.name}; the supported types are {', '.join(_TENSOR_TYPES)}"
        ) from None


def device_memory_size(engine: CudaEngine) -> int:
    """Bytes of device memory that a context takes. The attribute's name changed in TensorRT 10."""
    found = getattr(engine, "device_memory_size_v2", None)
    return int(cast("Any", engine).device_memory_size if found is None else found)
