"""Makes an engine of a plan's bytes: deserialises it, makes a network and its graphs for each slot, loads the kernel.

Why here and not in the engine: if a step fails, all that was taken before is given back, so an engine that exists is
complete. Trap: the first runs and the captures happen here. This takes seconds, and disturbs whatever else runs on the
device meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reidstream_engines.cuda.compile import ENTRY
from reidstream_engines.cuda.driver import Context, Module
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.protocol import EngineInfo
from reidstream_engines.selftest import batch_sizes
from reidstream_engines.spec import ModelSpec, Resize

from .api import Runtime
from .engine import TensorRtEngine
from .graphs import GraphedNetwork
from .messages import Messages
from .runner import TensorRtNetwork, deserialize

CropKernel = Callable[[Resize, OutputType], bytes]
"""The cubin for a resize and an output type, on the device's architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPlan:
    """`not_captured`: batch sizes without a CUDA graph, and why; usually empty."""

    engine: TensorRtEngine
    not_captured: Mapping[int, str]


def open_plan(
    context: Context,
    runtime: Runtime,
    plan: bytes,
    spec: ModelSpec,
    *,
    crop_kernel: CropKernel,
    messages: Messages,
    max_batch: int,
    slots: int,
    precision: str,
) -> OpenedPlan:
    """Make an engine of `slots` networks that share the plan's weights.

    Raises ModelError (the plan cannot be read, or does not fit the spec), UnsupportedProfile, KernelError, EngineFault,
    OutOfDeviceMemory and EngineLost; nothing is left on the device then.
    """
    context.use()
    engine = deserialize(runtime, plan, messages)
    networks: list[GraphedNetwork] = []
    try:
        for _ in range(slots):
            network = TensorRtNetwork(engine, spec, context, max_batch=max_batch, messages=messages)
            networks.append(GraphedNetwork(network, context, batch_sizes(max_batch)))
        module = Module(context, crop_kernel(spec.input.resize, networks[0].input_type), ENTRY)
    except BaseException:
        for made in networks:
            made.close()
        raise
    info = EngineInfo(engine="tensorrt", device=f"cuda:{context.index}", precision=precision)
    opened = TensorRtEngine(context, module, networks, spec, info)
    return OpenedPlan(engine=opened, not_captured=networks[0].not_captured)
