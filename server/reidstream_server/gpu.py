"""Models on a GPU, or the reason why they run on the CPU.

Why all or none: the models of a server share the stager, so they share its device. The CPU takes over if something is
missing on the machine, or if the device cannot do something exactly. A broken model or a failed build is an error in
either case. Trap: when one model cannot be loaded, those loaded before it must be closed before the CPU is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from reidstream_engines.cuda.devices import GroupEngine, GroupStager, Members
from reidstream_engines.cuda.probe import CudaDevice
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.errors import (
    DeviceUnavailable,
    EnginesError,
    Missing,
    PackageMissing,
    PlanError,
    UnknownPreprocessing,
    UnsupportedProfile,
)
from reidstream_engines.protocol import Engine, Stager
from reidstream_engines.selftest import SelfTestReport, self_test
from reidstream_engines.tensorrt import opened_gpu
from reidstream_engines.tensorrt.cache import is_plan_folder, read_manifest
from reidstream_engines.tensorrt.engine import TensorRtEngine
from reidstream_engines.tensorrt.manifest import Origin, PlanPrecision
from reidstream_engines.tensorrt.opened_gpu import Gpu, GpuOptions, default_cache
from reidstream_server.config import EngineSettings, ModelFile, ServerConfig
from reidstream_server.config.rules import cpu_settings, gpu_settings
from reidstream_server.errors import StartupError
from reidstream_server.logs import get_logger

log = get_logger(__name__)

_DEFAULT_MAX_BATCH = 32
_DEFAULT_SLOTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGpu:
    """The models run on the CPU. `fallback`: a GPU was preferred, and this is why it is not used."""

    reason: str
    fallback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A warmed engine, and the report of its self-test."""

    model: ModelFile
    engine: Engine
    report: SelfTestReport


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpu:
    """Every model, loaded on the GPUs, and the stager that they share."""

    stager: Stager
    loaded: tuple[Loaded, ...]


@contextmanager
def gpu_engines(config: ServerConfig, models: Sequence[ModelFile], jpeg: JpegDecoder) -> Iterator[OnGpu | NoGpu]:
    """Load, warm and self-test every model on the device that the settings name; closes them at the end.

    Raises StartupError if the models can run neither there nor on the CPU.
    """
    settings = config.engine
    if settings.device == "cpu":
        yield NoGpu(reason="device cpu", fallback=False)
        return
    if settings.device == "auto" and not settings.require_gpu and (given := cpu_settings(settings)):
        yield NoGpu(reason=f"these settings are for the CPU only: {', '.join(given)}", fallback=False)
        return
    with ExitStack() as stack:
        found: OnGpu | NoGpu
        try:
            found = _open(stack, config, models, jpeg)
        except (DeviceUnavailable, UnsupportedProfile, PackageMissing) as error:
            stack.close()
            if settings.require_gpu:
                raise StartupError(f"a GPU is required: {error}") from error
            no_driver = isinstance(error, DeviceUnavailable) and error.missing is Missing.DRIVER
            fallback = settings.device != "auto" or bool(gpu_settings(settings)) or not no_driver
            found = NoGpu(reason=str(error), fallback=fallback)
        yield found


def _open(stack: ExitStack, config: ServerConfig, models: Sequence[ModelFile], jpeg: JpegDecoder) -> OnGpu:
    settings = config.engine
    options = GpuOptions(
        precision=PlanPrecision(settings.gpu_precision.value),
        max_batch=settings.max_batch or _DEFAULT_MAX_BATCH,
        slots=settings.slots or _DEFAULT_SLOTS,
        max_staged_bytes=config.limits.max_staged_bytes,
        decode=settings.gpu_decode,
        cores=settings.cores,
        cache=settings.gpu_cache or default_cache(),
    )
    gpus: list[Gpu] = []
    stagers: list[CudaStager] = []
    with _blaming(f"device {settings.device}"):
        for index in device_numbers(settings.device):
            gpus.append(stack.enter_context(opened_gpu.open_gpu(index, options)))
            stagers.append(stack.enter_context(closing(_stager(gpus[-1], jpeg))))
            _announce(gpus[-1].device, settings)
    members = Members(len(gpus))
    stager: Stager = stagers[0] if len(stagers) == 1 else GroupStager(stagers, members)
    loaded = []
    for model in models:
        with _blaming(f"model {model.name!r} ({model.path})"):
            engines = [_load(stack, gpu, model) for gpu in gpus]
            engine: Engine = engines[0] if len(engines) == 1 else GroupEngine(engines, members)
            loaded.append(Loaded(model=model, engine=engine, report=self_test(engine, stager)))
    return OnGpu(stager=stager, loaded=tuple(loaded))


def refuse_plan(model: ModelFile, why_cpu: str) -> None:
    """Raises StartupError for the folder of a plan, which no CPU can run. `why_cpu`: why no GPU is used."""
    if not is_plan_folder(model.path):
        return
    what = f"model {model.name!r} ({model.path})"
    try:
        manifest = read_manifest(model.path)
    except PlanError as error:
        raise StartupError(f"{what}: {error}") from error
    key = manifest.key
    or_there = ", or serve the plan on such a GPU with --device cuda" if manifest.origin is Origin.ADOPTED else ""
    raise StartupError(
        f"{what} is the folder of a TensorRT plan ({manifest.origin.value}; {key.architecture}, {key.flavour.value} "
        f"{key.tensorrt_version}). A plan runs only on that kind of GPU, and the CPU is used here: {why_cpu}. "
        f"Give --model the ONNX file that the plan was built from{or_there}"
    )


def with_assumed_profile(model: ModelFile) -> ModelFile | None:
    """The model with the profile that is assumed where nothing says one, which the log tells; None if none is."""
    if model.profile is not None or model.assumed_profile is None:
        return None
    log.warning(
        "profile_assumed",
        model=model.name,
        profile=model.assumed_profile,
        reason="nothing says how its pictures are preprocessed; name another profile with --profile NAME "
        "(docs/models.md)",
    )
    return replace(model, profile=model.assumed_profile)


def device_numbers(device: str) -> list[int]:
    """The CUDA devices that `auto`, `cuda` or `cuda:N,...` names, each once."""
    return list(dict.fromkeys(int(name.partition(":")[2] or 0) for name in device.split(",")))


def _stager(gpu: Gpu, jpeg: JpegDecoder) -> CudaStager:
    try:
        return gpu.stager(jpeg)
    except (PackageMissing, DeviceUnavailable) as error:  # the GPU is there, so the CPU does not take over
        raise StartupError(f"gpu_decode: {error}") from error


def _load(stack: ExitStack, gpu: Gpu, model: ModelFile) -> TensorRtEngine:
    try:
        opened = gpu.load(model.path, name=model.name, profile=model.profile)
    except UnknownPreprocessing:
        assumed = with_assumed_profile(model)
        if assumed is None:
            raise
        return _load(stack, gpu, assumed)
    stack.callback(opened.engine.close)
    for size, reason in opened.not_captured.items():
        log.warning("no_cuda_graph", model=model.name, batch=size, reason=reason)
    return opened.engine


def _announce(device: CudaDevice, settings: EngineSettings) -> None:
    log.info(
        "gpu",
        device=f"cuda:{device.index}",
        name=device.name,
        uuid=device.uuid,
        architecture=device.architecture,
        memory_bytes=device.total_memory,
        driver_cuda=device.driver_version,
        decodes_jpeg=settings.gpu_decode,
    )


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Makes a StartupError that names `what`, except of errors after which the CPU takes over."""
    try:
        yield
    except (DeviceUnavailable, UnsupportedProfile, PackageMissing):
        raise
    except EnginesError as error:
        raise StartupError(f"{what}: {error}") from error
