"""Models on a GPU, or why not.

Why all or none: the models of a server share the stager, so they share its device. What may be answered by the CPU
instead is something missing or something that the device cannot do exactly; a broken model or a failed build is an
error wherever it happens. Trap: what was loaded before the one that failed must be gone before the CPU is tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.cpu.jpeg import JpegDecoder
from reidstream_engines.cuda.devices import GroupEngine, GroupStager, Members
from reidstream_engines.cuda.probe import CudaDevice
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.errors import (
    DeviceUnavailable,
    EnginesError,
    Lack,
    PackageMissing,
    PlanError,
    UnsupportedProfile,
)
from reidstream_engines.protocol import Engine, Stager
from reidstream_engines.selftest import SelfTestReport, self_test
from reidstream_engines.tensorrt import loading
from reidstream_engines.tensorrt.cache import is_kept, read_manifest
from reidstream_engines.tensorrt.engine import TensorRtEngine
from reidstream_engines.tensorrt.loading import Gpu, GpuOptions, default_cache
from reidstream_engines.tensorrt.manifest import Origin, PlanPrecision
from reidstream_server.config import EngineSettings, ServerConfig
from reidstream_server.config.rules import cpu_settings, gpu_settings
from reidstream_server.errors import StartupError
from reidstream_server.logs import get_logger

log = get_logger(__name__)

_DEFAULT_MAX_BATCH = 32
_DEFAULT_SLOTS = 2


class NoGpu(Exception):
    """The CPU is to be used. `wanted`: a GPU would have been better, so it is a fallback."""

    def __init__(self, reason: str, *, wanted: bool) -> None:
        super().__init__(reason)
        self.wanted = wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the configuration."""

    name: str
    path: Path
    profile: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A warmed engine, and what warming it showed."""

    model: Model
    engine: Engine
    report: SelfTestReport


@contextmanager
def gpu_engines(
    config: ServerConfig, models: Sequence[Model], jpeg: JpegDecoder
) -> Iterator[tuple[Stager, tuple[Loaded, ...]]]:
    """Load, warm and self-test every model on the device that the settings name; closes them at the end.

    Raises NoGpu where the CPU is to be used, StartupError where nothing is.
    """
    settings = config.engine
    if settings.device == "cpu":
        raise NoGpu("device cpu", wanted=False)
    if settings.device == "auto" and not settings.require_gpu and (given := cpu_settings(settings)):
        raise NoGpu(f"{', '.join(given)} are the CPU's", wanted=False)
    with ExitStack() as stack:
        try:
            found = _open(stack, config, models, jpeg)
        except (DeviceUnavailable, UnsupportedProfile, PackageMissing) as error:
            stack.close()
            if settings.require_gpu:
                raise StartupError(f"a GPU is required: {error}") from error
            lacking = isinstance(error, DeviceUnavailable) and error.lack is Lack.DRIVER
            wanted = settings.device != "auto" or bool(gpu_settings(settings)) or not lacking
            raise NoGpu(str(error), wanted=wanted) from error
        yield found


def _open(
    stack: ExitStack, config: ServerConfig, models: Sequence[Model], jpeg: JpegDecoder
) -> tuple[Stager, tuple[Loaded, ...]]:
    settings = config.engine
    options = GpuOptions(
        precision=PlanPrecision(settings.gpu_precision.value),
        max_batch=settings.max_batch or _DEFAULT_MAX_BATCH,
        slots=settings.slots or _DEFAULT_SLOTS,
        max_staged_bytes=config.limits.max_staged_bytes,
        decode=settings.gpu_decode,
        cache=settings.gpu_cache or default_cache(),
    )
    gpus: list[Gpu] = []
    stagers: list[CudaStager] = []
    with _blaming(f"device {settings.device}"):
        for index in device_numbers(settings.device):
            gpus.append(stack.enter_context(loading.open_gpu(index, options)))
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
    return stager, tuple(loaded)


def refuse_plan(model: Model, why_cpu: str) -> None:
    """Raises StartupError for the folder of a plan, which no CPU can run. `why_cpu`: why there is no GPU."""
    if not is_kept(model.path):
        return
    what = f"model {model.name!r} ({model.path})"
    try:
        manifest = read_manifest(model.path)
    except PlanError as error:
        raise StartupError(f"{what}: {error}") from error
    key = manifest.key
    there = ", or serve the plan on such a GPU with --device cuda" if manifest.origin is Origin.ADOPTED else ""
    raise StartupError(
        f"{what} is the folder of a TensorRT plan ({manifest.origin.value}; {key.architecture}, {key.flavour.value} "
        f"{key.tensorrt_version}), which is a program for that kind of GPU, and the CPU is used here: {why_cpu}. "
        f"Give --model the ONNX file that it was built from{there}"
    )


def device_numbers(device: str) -> list[int]:
    """Of `auto`, `cuda` and `cuda:N,...`; each once."""
    return list(dict.fromkeys(int(name.partition(":")[2] or 0) for name in device.split(",")))


def _stager(gpu: Gpu, jpeg: JpegDecoder) -> CudaStager:
    try:
        return gpu.stager(jpeg)
    except (PackageMissing, DeviceUnavailable) as error:  # the GPU is there: no reason for the CPU to compute
        raise StartupError(f"gpu_decode: {error}") from error


def _load(stack: ExitStack, gpu: Gpu, model: Model) -> TensorRtEngine:
    opened = gpu.load(model.path, name=model.name, profile=model.profile)
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
    """What is no reason for the CPU is a StartupError that names who is at fault."""
    try:
        yield
    except (DeviceUnavailable, UnsupportedProfile, PackageMissing):
        raise
    except EnginesError as error:
        raise StartupError(f"{what}: {error}") from error
