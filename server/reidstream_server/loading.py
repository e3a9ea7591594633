"""Models from the configuration to warmed engines.

Traps: no engine is served before it has passed the numeric self-test, since a wrong build of a network gives vectors
that look like any others. And no engine that was measured is served: a new one is made by the plan that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import assert_never

from reidstream_engines import default_model
from reidstream_engines.cores import find_cores, usable_cores
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import InferenceRuntime, OnnxOptions, Precision
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding.jpeg import JpegDecoder
from reidstream_engines.decoding.opencv import limit_threads
from reidstream_engines.decoding.turbojpeg import TURBOJPEG_INSTALL, find_turbojpeg
from reidstream_engines.errors import EnginesError, UnknownPreprocessing
from reidstream_engines.onnx_facts import read_facts
from reidstream_engines.onnx_file import CPU_PROVIDER
from reidstream_engines.protocol import Engine, Stager
from reidstream_engines.selftest import SelfTestReport, self_test
from reidstream_engines.tuning import FixedFigures, RunPlan, Tuning, tune
from reidstream_engines.tuning_file import tuned, tuned_for
from reidstream_server.config import EngineSettings, ModelFile, ServerConfig
from reidstream_server.errors import StartupError
from reidstream_server.gpu import Loaded, NoGpu, OnGpu, gpu_engines, refuse_plan, with_assumed_profile
from reidstream_server.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the server runs: loaded, warmed engines, the default model's first, and the stager of their device.

    `self_tests`: what the self-tests that they passed have found, by the name of the model.
    """

    engines: tuple[Engine, ...]
    stager: Stager
    self_tests: Mapping[str, SelfTestReport] = field(default_factory=dict)


@contextmanager
def loaded_engines(config: ServerConfig) -> Iterator[Engines]:
    """Load, warm up and self-test every model; closes them at the end. Raises StartupError, which names the model."""
    models = config.models or (ModelFile(name=default_model.NAME, path=default_model.PATH),)
    cores = find_cores(config.engine.cores)
    log.info("cores", count=cores.count, because=cores.why)
    limit_threads(cores.count)
    jpeg = _jpeg_decoder(config.engine)
    with ExitStack() as stack:
        match stack.enter_context(gpu_engines(config, models, jpeg)):
            case OnGpu(stager=stager, loaded=loaded):
                for item in loaded:
                    _announce(item)
                yield _engines(loaded, stager)
            case NoGpu() as no_gpu:
                log.info("cpu_is_used", reason=no_gpu.reason)
                yield _on_cpu(stack, config, models, jpeg, no_gpu)
            case found:
                assert_never(found)


def _on_cpu(
    stack: ExitStack, config: ServerConfig, models: Sequence[ModelFile], jpeg: JpegDecoder, no_gpu: NoGpu
) -> Engines:
    for model in models:  # before any of them takes its time
        refuse_plan(model, no_gpu.reason)
    stager = CpuStager(jpeg)
    loaded = []
    for model in models:
        item = _load(config, stager, model, no_gpu.reason if no_gpu.fallback else "")
        stack.callback(item.engine.close)
        loaded.append(item)
    return _engines(loaded, stager)


def _engines(loaded: Sequence[Loaded], stager: Stager) -> Engines:
    return Engines(
        engines=tuple(item.engine for item in loaded),
        stager=stager,
        self_tests={item.model.name: item.report for item in loaded},
    )


def _jpeg_decoder(settings: EngineSettings) -> JpegDecoder:
    jpeg = JpegDecoder(find_turbojpeg(), scale=settings.jpeg_scale, regions=settings.jpeg_region)
    if jpeg.library is not None:
        log.info("jpeg_decoder", decodes="the boxes' region", library=jpeg.library, scale=jpeg.scale)
    elif settings.jpeg_region:
        log.info("jpeg_decoder", decodes="whole frames", scale=jpeg.scale, faster_with=TURBOJPEG_INSTALL)
    else:
        log.info("jpeg_decoder", decodes="whole frames", scale=jpeg.scale)
    return jpeg


def _load(config: ServerConfig, stager: Stager, model: ModelFile, fallback: str) -> Loaded:
    def open_engine(plan: RunPlan) -> OnnxEngine:
        return load_onnx(
            model.path,
            name=model.name,
            profile=model.profile,
            options=_options(config.engine, plan),
            jpeg_scale=config.engine.jpeg_scale,
            fallback_reason=fallback,
        )

    try:
        tuning = _tune(config.engine, stager, model, open_engine)
        engine = open_engine(tuning.plan)
        report = self_test(engine, stager)
    except UnknownPreprocessing as error:
        assumed = with_assumed_profile(model)
        if assumed is None:
            raise StartupError(f"model {model.name!r} ({model.path}): {error}") from error
        return _load(config, stager, assumed, fallback)
    except EnginesError as error:
        raise StartupError(f"model {model.name!r} ({model.path}): {error}") from error
    piece = read_facts(model.path).fixed_batch
    if piece and tuning.plan.max_batch % piece:
        reason = f"the network always computes {piece} crops; set max_batch to a multiple of it, or leave it out"
        log.warning("batches_are_padded", model=model.name, max_batch=tuning.plan.max_batch, reason=reason)
    if tuning.crops_per_s:
        log.info("model_tuned", model=model.name, **asdict(tuning.plan), **_measured(tuning))
    loaded = Loaded(model=model, engine=engine, report=report)
    _announce(loaded)
    return loaded


def _announce(loaded: Loaded) -> None:
    """A model is ready: what it is, what runs it, and how fast it was."""
    name, spec, info = loaded.model.name, loaded.engine.spec, loaded.engine.info
    log.info("model_loaded", model=name, path=str(loaded.model.path), space_id=spec.space_id, profile=spec.profile)
    log.info("model_engine", model=name, engine=info.engine, device=info.device, precision=info.precision)
    if spec.set_aside:
        log.warning("profile_overrides", model=name, reason=spec.set_aside)
    if info.fallback_reason:
        log.warning("engine_fallback", model=name, reason=info.fallback_reason)
    times = {f"batch_{item.size}_ms": round(item.seconds * 1e3, 3) for item in loaded.report.timings}
    log.info("model_warm", model=name, **times)


def _tune(
    settings: EngineSettings, stager: Stager, model: ModelFile, open_engine: Callable[[RunPlan], OnnxEngine]
) -> Tuning:
    """How to run a model. What the settings leave open is remembered, or else measured, if the CPU runs the model."""
    cores = usable_cores(settings.cores)
    on_cpu = settings.providers == (CPU_PROVIDER,)
    fixed = FixedFigures(
        threads_per_call=settings.threads_per_call or None,
        slots=settings.slots or None,
        max_batch=settings.max_batch or None,
    )

    def measure() -> Tuning:
        return tune(
            open_engine,
            stager,
            fixed=fixed,
            cores=cores,
            seconds=settings.tune_seconds if on_cpu else 0.0,
            fixed_batch=read_facts(model.path).fixed_batch,
        )

    file = settings.tuning_file
    if file is None or not on_cpu:
        return measure()
    library, precision = settings.runtime.value, settings.precision.value
    found = tuned(
        file,
        lambda: tuned_for(model.path, cores=cores, package=library, precision=precision, fixed=fixed),
        measure,
        lambda reason: log.warning("tuning_file_unusable", model=model.name, reason=reason),
    )
    if found.remembered:
        log.info("tuning_recalled", model=model.name, file=str(file), **asdict(found.plan))
    return found


def _options(settings: EngineSettings, plan: RunPlan) -> OnnxOptions:
    return OnnxOptions(
        runtime=InferenceRuntime(settings.runtime.value),
        precision=Precision(settings.precision.value),
        providers=settings.providers,
        spinning=settings.spinning,
        threads_per_call=plan.threads_per_call,
        max_batch=plan.max_batch,
        slots=plan.slots,
    )


def _measured(tuning: Tuning) -> dict[str, int | str]:
    """A field for each plan: its crops/s, or why it has none."""
    found: dict[RunPlan, int | str] = {plan: round(rate) for plan, rate in tuning.crops_per_s.items()}
    found |= tuning.left_out
    return {
        f"crops_per_s_{plan.threads_per_call}x{plan.slots}x{plan.max_batch}": figure for plan, figure in found.items()
    }
