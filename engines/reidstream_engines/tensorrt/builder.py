"""From a model to a plan: the build itself, the same code over `tensorrt` 10 and 11 and `tensorrt_rtx`.

Why strongly typed only: the types are in the graph, so a layer that must be fp32 is fp32. TensorRT 8.6 chooses types
layer by layer from a flag; what it chose could not be vouched for, so it runs adopted plans and builds none.
Why one optimisation profile, tuned for the largest batch: full batches are what a loaded server runs, and a second
profile is a second copy of the buffers.

Traps: TensorRT reduces fp32 convolutions to TF32 unless told not to, which is fp16's mantissa under the name of fp32.
`tensorrt_rtx` builds without a GPU, and must be told for which; `tensorrt` builds for the GPU that it measures on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reidstream_engines.errors import DeviceUnavailable, PlanError
from reidstream_engines.spec import ModelSpec

from .api import Builder, BuilderConfig, Flavour, TensorRt, TensorType, major_version
from .manifest import TensorInfo
from .messages import without_collection
from .parsing import ParsedNetwork, Said, parse_network
from .progress import BuildMonitor, Progress

OLDEST_BUILDER = 10

_Made = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlan:
    """`image` is what is deserialised. `timing`: the timing cache after the build; empty where there is none."""

    image: bytes
    input: TensorInfo
    output: TensorInfo
    static_batch: int | None
    timing: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """`model`: an ONNX model with all its weights in it, whose image has type `image`. `path`: for messages.

    `architecture`: such as sm_89. `timing`: what an earlier build of the same TensorRT and GPU left; may be empty.
    """

    model: bytes
    path: Path
    spec: ModelSpec
    image: TensorType
    architecture: str
    max_batch: int
    timing: bytes = b""


def build_plan(trt: TensorRt, flavour: Flavour, request: BuildRequest, progress: Progress | None = None) -> BuiltPlan:
    """Build; minutes with `tensorrt`, a second with `tensorrt_rtx`. Any thread; one build at a time measures best.

    With `tensorrt` the caller has made sure that there is a device. Raises ModelError (the model), PlanError (the
    build; with TensorRT's reason) and DeviceUnavailable (TensorRT is too old, or does not start). What `progress`
    raises ends the build and is raised again.
    """
    if flavour is Flavour.TENSORRT and major_version(trt) < OLDEST_BUILDER:
        raise DeviceUnavailable(
            f"TensorRT {trt.__version__} chooses the precision of each layer by itself, so no plan is built with it: "
            f"install TensorRT {OLDEST_BUILDER} or newer, or adopt a plan of trtexec's (reidstream-engines adopt)"
        )
    said = Said(trt)
    builder = _made(lambda: trt.Builder(said.logger), said, "the builder")
    parsed = parse_network(
        trt, builder, said, model=request.model, path=request.path, spec=request.spec, image=request.image
    )
    config: BuilderConfig = _made(builder.create_builder_config, said, "the builder's configuration")
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if flavour is Flavour.RTX:
        _set_target(trt, config, request.architecture)
    if parsed.static_batch is None:
        _add_profile(builder, config, parsed, request, said)
    timing = flavour is Flavour.TENSORRT
    if timing:
        _set_timing(config, request.timing)
    monitor = BuildMonitor(trt, progress)
    config.progress_monitor = monitor.monitor
    image = builder.build_serialized_network(parsed.network, config)
    monitor.raise_failure()
    plan = b"" if image is None else bytes(image)
    if not plan:
        raise PlanError(
            f"TensorRT {trt.__version__} cannot build {request.path} for batches of up to {request.max_batch}; if "
            f"memory ran out, try a smaller --max-batch, or free the GPU{said.text()}"
        )
    if progress is not None:
        progress(1.0, "built")
    return BuiltPlan(
        image=plan,
        input=parsed.input,
        output=parsed.output,
        static_batch=parsed.static_batch,
        timing=_timing(config) if timing else b"",
    )


def _made(make: Callable[[], _Made | None], said: Said, what: str) -> _Made:
    """TensorRT's constructors raise TypeError where the library gave them nothing; its methods answer None."""
    try:
        with without_collection():
            found = make()
    except (TypeError, RuntimeError) as error:
        raise DeviceUnavailable(f"TensorRT cannot make {what} ({error}){said.text()}") from error
    if found is None:
        raise DeviceUnavailable(f"TensorRT cannot make {what}{said.text()}")
    return found


def _set_target(trt: TensorRt, config: BuilderConfig, architecture: str) -> None:
    name = architecture.replace("_", "").upper()  # sm_89 is SM89
    target = getattr(trt.ComputeCapability, name, None)
    if target is None:
        known = ", ".join(f"sm_{item[2:]}" for item in dir(trt.ComputeCapability) if item.startswith("SM"))
        raise DeviceUnavailable(
            f"tensorrt_rtx {trt.__version__} has no target {architecture}, only {known}; use tensorrt there"
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(target, 0):
        raise PlanError(f"tensorrt_rtx {trt.__version__} refuses the target {architecture}")


def _add_profile(
    builder: Builder, config: BuilderConfig, parsed: ParsedNetwork, request: BuildRequest, said: Said
) -> None:
    profile = _made(builder.create_optimization_profile, said, "an optimisation profile")
    source = request.spec.input
    rest = (len(source.mean), source.height, source.width)
    most = (request.max_batch, *rest)
    if profile.set_shape(source.name, (1, *rest), most, most) is False or config.add_optimization_profile(profile) < 0:
        raise PlanError(
            f"TensorRT refuses batches of 1 to {request.max_batch} of {parsed.input.name} {list(parsed.input.shape)}"
            f"{said.text()}"
        )


def _set_timing(config: BuilderConfig, kept: bytes) -> None:
    """One that does not fit costs the measuring, nothing else."""
    for data in (kept, b"") if kept else (b"",):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _timing(config: BuilderConfig) -> bytes:
    cache = config.get_timing_cache()
    kept = None if cache is None else cache.serialize()
    return b"" if kept is None else bytes(kept)
