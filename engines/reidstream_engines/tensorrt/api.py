"""The few calls of TensorRT that are used here, as types; and the one place that imports it.

Why Protocols: TensorRT has no type stubs, and three packages have these very calls: `tensorrt` 10 and 11 and
`tensorrt_rtx` (`tensorrt` 8.6 has those of the runtime). A fake with these calls is a whole TensorRT to a test.

Traps: failures come back as None or False, not as exceptions, and the text of it goes to the logger; so nearly every
result here is optional, and mypy sees to it that it is looked at. Without a driver `Runtime(logger)` is an object over
a null pointer, and its next call ends the process: ask the driver for a device first. Objects must be let go of in the
reverse order: contexts, engine, runtime, logger.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol, cast

from reidstream_engines.errors import DeviceUnavailable, ModelError

_INSTALL = {
    "tensorrt": "in NVIDIA's TensorRT container it is there; otherwise: pip install tensorrt --extra-index-url URL, "
    "with the URL of NVIDIA's package index, see docs/gpu.md",
    "tensorrt_rtx": "pip install tensorrt-rtx",
}


class Flavour(Enum):
    """Which TensorRT. The value is the package that is imported."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt_rtx"


class TensorType(Enum):
    """The types of inputs and outputs that are served. The value is also numpy's name of it."""

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
        """The names of the tensors that lack a shape or an address; empty when all is well."""
        ...

    def set_tensor_address(self, name: str, address: int, /) -> bool: ...
    def set_optimization_profile_async(self, index: int, stream: int, /) -> bool: ...
    def execute_async_v3(self, stream: int, /) -> bool:
        """Only enqueues; it lets go of the GIL."""
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
        """The least, the usual and the largest shape of an input."""
        ...

    def create_execution_context(self) -> ExecutionContext | None: ...
    def create_engine_inspector(self) -> Inspector | None: ...


class Runtime(Protocol):
    """IRuntime; see the trap above."""

    def deserialize_cuda_engine(self, plan: bytes, /) -> CudaEngine | None: ...


class Tensor(Protocol):
    """ITensor of a network that is being built."""

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
    """What the ONNX parser says of one node."""

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
    """IOptimizationProfile. In some versions `set_shape` answers nothing, so only False is a refusal."""

    def set_shape(
        self, name: str, least: tuple[int, ...], usual: tuple[int, ...], largest: tuple[int, ...], /
    ) -> bool | None: ...


class TimingCache(Protocol):
    """ITimingCache: how fast each layer ran in each way, so that the next build need not measure it."""

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
    """The module. Enums are `Any`: their members come and go with the version, and are asked for by name."""

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
    """Import it. Raises DeviceUnavailable, with what installs it."""
    try:
        module = importlib.import_module(flavour.value)
        module.__version__, module.Builder  # noqa: B018 - an empty folder of that name is a package, too
    except (ImportError, OSError, AttributeError, RuntimeError) as error:  # its libraries are loaded by its import
        raise DeviceUnavailable(
            f"the package {flavour.value} is not usable here ({error}); {_INSTALL[flavour.value]}"
        ) from error
    return cast("TensorRt", module)


def major_version(trt: TensorRt) -> int:
    """8, 10, 11; tensorrt_rtx counts on its own, from 1."""
    return int(trt.__version__.split(".")[0])


def tensor_type(dtype: Named) -> TensorType:
    """Raises ModelError for one that is not served."""
    try:
        return _TENSOR_TYPES[dtype.name]
    except KeyError:
        raise ModelError(f"a tensor of type {dtype.name} is not served; {', '.join(_TENSOR_TYPES)} are") from None


def device_memory_size(engine: CudaEngine) -> int:
    """Bytes of device memory that a context takes; the name changed in TensorRT 10."""
    found = getattr(engine, "device_memory_size_v2", None)
    return int(cast("Any", engine).device_memory_size if found is None else found)
