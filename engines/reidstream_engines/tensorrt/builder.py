"""Builds a plan from a model, with the same code for `tensorrt` 10 and 11 and `tensorrt_rtx`.

Why only strongly typed networks: the types are in the graph, so a layer that must be fp32 is fp32. TensorRT 8.6 gets
a flag and chooses the type of each layer itself. Nobody could guarantee its choice, so with 8.6 plans are only adopted,
not built. Why one optimisation profile, tuned for the largest batch: a busy server runs full batches, and a second
profile needs a second copy of the buffers.

Traps: by default TensorRT computes fp32 convolutions in TF32, which has the mantissa of fp16. `tensorrt_rtx` builds
without a GPU and must be told for which GPU; `tensorrt` builds for the GPU on which it measures.
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
from .parsing import BuildLog, ParsedNetwork, parse_network
from .progress import BuildMonitor, Progress

OLDEST_BUILDER = 10

_Made = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlan:
    """`image`: the serialised plan. `timing`: the timing cache after the build; empty if there is none."""

    image: bytes
    input: TensorInfo
    output: TensorInfo
    static_batch: int | None
    timing: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """`model`: an ONNX model that contains all its weights, with an input of type `image`. `path`: for messages.

    `architecture`: such as sm_89. `timing`: the timing cache of an earlier build with the same TensorRT and GPU; may be
    empty.
    """

    model: bytes
    path: Path
    spec: ModelSpec
    image: TensorType
    architecture: str
    max_batch: int
    timing: bytes = b""


def build_plan(trt: TensorRt, flavour: Flavour, request: BuildRequest, progress: Progress | None = None) -> BuiltPlan:
    """Build a plan: minutes with `tensorrt`, a second with `tensorrt_rtx`. Any thread, but run one build at a time: it
    measures.

    With `tensorrt` the caller must make sure that there is a device. Raises ModelError (the model), PlanError (the
    build; with TensorRT's reason) and DeviceUnavailable (TensorRT is too old, or does not start). If `progress` raises,
    the build ends and the exception is raised here.
    """
    if flavour is Flavour.TENSORRT and major_version(trt) < OLDEST_BUILDER:
        raise DeviceUnavailable(
            f"TensorRT {trt.__version__} cannot build plans here, since it chooses the precision of each layer itself: "
            f"install TensorRT {OLDEST_BUILDER} or newer, or adopt a plan that trtexec built (reidstream-engines adopt)"
        )
    log = BuildLog(trt)
    builder = _made(lambda: trt.Builder(log.logger), log, "the builder")
    parsed = parse_network(
        trt, builder, log, model=request.model, path=request.path, spec=request.spec, image=request.image
    )
    config: BuilderConfig = _made(builder.create_builder_config, log, "the builder's configuration")
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if flavour is Flavour.RTX:
        _set_target(trt, config, request.architecture)
    if parsed.static_batch is None:
        _add_profile(builder, config, parsed, request, log)
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
            f"TensorRT {trt.__version__} cannot build {request.path} for batches of up to {request.max_batch}; if the "
            f"GPU's memory is full, try a smaller --max-batch, or stop other programs on the GPU{log.text()}"
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


def _made(make: Callable[[], _Made | None], log: BuildLog, what: str) -> _Made:
    """Make an object of TensorRT. Its constructors raise TypeError if they fail; its methods return None."""
    try:
        with without_collection():
            found = make()
    except (TypeError, RuntimeError) as error:
        raise DeviceUnavailable(f"TensorRT cannot make {what} ({error}){log.text()}") from error
    if found is None:
        raise DeviceUnavailable(f"TensorRT cannot make {what}{log.text()}")
    return found


def _set_target(trt: TensorRt, config: BuilderConfig, architecture: str) -> None:
    name = architecture.replace("_", "").upper()  # sm_89 is SM89
    target = getattr(trt.ComputeCapability, name, None)
    if target is None:
        known = ", ".join(f"sm_{item[2:]}" for item in dir(trt.ComputeCapability) if item.startswith("SM"))
        raise DeviceUnavailable(
            f"tensorrt_rtx {trt.__version__} cannot build for {architecture}, only for {known}; use tensorrt for it"
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(target, 0):
        raise PlanError(f"tensorrt_rtx {trt.__version__} refuses the target {architecture}")


def _add_profile(
    builder: Builder, config: BuilderConfig, parsed: ParsedNetwork, request: BuildRequest, log: BuildLog
) -> None:
    profile = _made(builder.create_optimization_profile, log, "an optimisation profile")
    source = request.spec.input
    rest = (len(source.mean), source.height, source.width)
    most = (request.max_batch, *rest)
    if profile.set_shape(source.name, (1, *rest), most, most) is False or config.add_optimization_profile(profile) < 0:
        raise PlanError(
            f"TensorRT refuses batches of 1 to {request.max_batch} of {parsed.input.name} {list(parsed.input.shape)}"
            f"{log.text()}"
        )


def _set_timing(config: BuilderConfig, kept: bytes) -> None:
    """Use a timing cache. One that does not fit only means that TensorRT measures again."""
    for data in (kept, b"") if kept else (b"",):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _timing(config: BuilderConfig) -> bytes:
    cache = config.get_timing_cache()
    kept = None if cache is None else cache.serialize()
    return b"" if kept is None else bytes(kept)
