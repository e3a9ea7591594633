"""The fastest way to run an ONNX file that a GPU machine has: TensorRT, or torch as a stand-in.

Why: our own part is measured beside a network, and the report names it. Trap: TensorRT's runtime must outlive its
networks, so both are kept in one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.driver import Module
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import DeviceUnavailable
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.selftest import batch_sizes
from reidstream_engines.spec import ModelSpec
from reidstream_engines.spec_source import resolve_spec
from reidstream_engines.tensorrt.api import Flavour, TensorRt, load_tensorrt
from reidstream_engines.tensorrt.cache import PlanCache
from reidstream_engines.tensorrt.engine import TensorRtEngine
from reidstream_engines.tensorrt.fp16 import export_fp16
from reidstream_engines.tensorrt.graphs import GraphedNetwork
from reidstream_engines.tensorrt.manifest import PlanPrecision
from reidstream_engines.tensorrt.messages import Messages, logger_for
from reidstream_engines.tensorrt.network import DeviceNetwork
from reidstream_engines.tensorrt.plans import plan_for
from reidstream_engines.tensorrt.runner import TensorRtNetwork, deserialize

from .host_network import HostNetwork
from .launch import Machine

PROFILE = "torchreid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """One network for each slot, of one file. `library`: what computes them. `owners`: must live as long as they do."""

    library: str
    spec: ModelSpec
    input_type: OutputType
    networks: Sequence[DeviceNetwork]
    owners: tuple[object, ...] = field(default=(), repr=False)

    def engine(self, machine: Machine) -> TensorRtEngine:
        """Our engine on these networks; it closes them."""
        spec = self.spec
        module = Module(machine.context, machine.crop_kernel(spec.input.resize, self.input_type), ENTRY)
        info = EngineInfo(engine=self.library, device=f"cuda:{machine.device.index}", precision=self.input_type.value)
        return TensorRtEngine(machine.context, module, self.networks, spec, info)


def spec_of(path: Path) -> ModelSpec:
    """The spec of a file, resolved as the server does."""
    signature = read_signature(path)
    return resolve_spec(path=path, signature=signature, name=None, profile=PROFILE)


def networks_of(
    machine: Machine, path: Path, output: OutputType, *, max_batch: int, slots: int, cache: Path
) -> Networks:
    """By TensorRT, else by torch. Raises DeviceUnavailable if there is neither for this device."""
    spec = spec_of(path)
    machine.context.use()
    try:
        trt = load_tensorrt(Flavour.TENSORRT)
    except DeviceUnavailable as error:
        return _by_torch(machine, path, spec, output, max_batch=max_batch, slots=slots, missing=error)
    return _by_tensorrt(trt, machine, path, spec, output, max_batch=max_batch, slots=slots, cache=cache)


def networks_of_any(
    machine: Machine, path: Path, output: OutputType, *, max_batch: int, slots: int, cache: Path
) -> Networks:
    """The same; if there is neither, by onnxruntime on the CPU in float32: correct, but its speed means nothing."""
    try:
        return networks_of(machine, path, output, max_batch=max_batch, slots=slots, cache=cache)
    except DeviceUnavailable:
        spec = spec_of(path)
        networks = [
            HostNetwork(path, spec, machine.context, max_batch=max_batch, input_type=output) for _ in range(slots)
        ]
        return Networks(library="onnxruntime on the CPU", spec=spec, input_type=output, networks=networks)


def _by_tensorrt(
    trt: TensorRt,
    machine: Machine,
    path: Path,
    spec: ModelSpec,
    output: OutputType,
    *,
    max_batch: int,
    slots: int,
    cache: Path,
) -> Networks:
    plan = plan_for(
        path,
        spec,
        architecture=machine.device.architecture,
        precision=PlanPrecision(output.value),
        max_batch=max_batch,
        cache=PlanCache(root=cache),
    )
    messages = Messages()
    logger = logger_for(trt, messages)
    runtime = trt.Runtime(logger)
    engine = deserialize(runtime, plan.image, messages)
    networks = [
        GraphedNetwork(
            TensorRtNetwork(engine, spec, machine.context, max_batch=max_batch, messages=messages),
            machine.context,
            batch_sizes(max_batch),
        )
        for _ in range(slots)
    ]
    library, owners = f"TensorRT {trt.__version__}", (engine, runtime, logger)
    return Networks(library=library, spec=spec, input_type=output, networks=networks, owners=owners)


def _by_torch(
    machine: Machine,
    path: Path,
    spec: ModelSpec,
    output: OutputType,
    *,
    max_batch: int,
    slots: int,
    missing: DeviceUnavailable,
) -> Networks:
    try:
        import onnx  # noqa: PLC0415 - torch, and what it needs here, is the GPU machine's own
        import torch  # noqa: PLC0415

        from .torch_network import TorchNetwork  # noqa: PLC0415
    except ImportError as error:
        raise DeviceUnavailable(f"neither TensorRT ({missing}) nor torch ({error})") from error
    if not torch.cuda.is_available():
        raise DeviceUnavailable(f"neither TensorRT ({missing}) nor a torch for CUDA (torch {torch.__version__})")
    data = export_fp16(path).data if output is OutputType.FP16 else path.read_bytes()
    model = onnx.load_from_string(data)
    sizes = batch_sizes(max_batch)
    networks = [TorchNetwork(model, spec, machine.context, input_type=output, sizes=sizes) for _ in range(slots)]
    library = f"torch {torch.__version__}, standing in for TensorRT"
    return Networks(library=library, spec=spec, input_type=output, networks=networks)
