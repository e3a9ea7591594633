"""Models from the configuration to warmed engines.

Trap: nothing is served that has not passed the numeric self-test; a wrong build of a network answers vectors that look
like any others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reidstream_engines import default_model
from reidstream_engines.cpu.jpeg import JpegDecoder
from reidstream_engines.cpu.network import OnnxOptions, Precision, Runtime
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cpu.turbojpeg import TURBOJPEG_INSTALL, find_turbojpeg
from reidstream_engines.errors import EnginesError
from reidstream_engines.loading import load_onnx
from reidstream_engines.protocol import Engine, Stager
from reidstream_engines.selftest import self_test
from reidstream_server.bounds import cores
from reidstream_server.config import EngineSettings, ServerConfig
from reidstream_server.errors import StartupError
from reidstream_server.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """What the server runs: loaded, warmed engines, the default first, and the stager of their device."""

    engines: tuple[Engine, ...]
    stager: Stager


@contextmanager
def loaded_engines(config: ServerConfig) -> Iterator[Engines]:
    """Load, warm up and self-test every model; closes them at the end. Raises StartupError, which names the model."""
    with ExitStack() as stack:
        engines: list[Engine] = []
        stager = _stager(config.engine)
        files = [(model.name, model.path, model.profile) for model in config.models]
        for name, path, profile in files or [(default_model.NAME, default_model.PATH, None)]:
            engine = _load(config, stager, name, path, profile)
            stack.callback(engine.close)
            engines.append(engine)
        yield Engines(engines=tuple(engines), stager=stager)


def _stager(settings: EngineSettings) -> CpuStager:
    jpeg = JpegDecoder(find_turbojpeg() if settings.jpeg_region else None, scale=settings.jpeg_scale)
    if jpeg.library is not None:
        log.info("jpeg_decoder", decodes="the boxes' region", library=jpeg.library, scale=jpeg.scale)
    elif settings.jpeg_region:
        log.info("jpeg_decoder", decodes="whole frames", scale=jpeg.scale, faster_with=TURBOJPEG_INSTALL)
    else:
        log.info("jpeg_decoder", decodes="whole frames", scale=jpeg.scale)
    return CpuStager(jpeg)


def _load(config: ServerConfig, stager: Stager, name: str, path: Path, profile: str | None) -> OnnxEngine:
    slots = config.engine.slots
    options = OnnxOptions(
        runtime=Runtime(config.engine.runtime.value),
        precision=Precision(config.engine.precision.value),
        providers=config.engine.providers,
        threads_per_call=config.engine.threads_per_call or max(1, cores() // slots),
        spinning=config.engine.spinning,
        max_batch=config.engine.max_batch,
        slots=slots,
    )
    try:
        engine = load_onnx(path, name=name, profile=profile, options=options, jpeg_scale=config.engine.jpeg_scale)
        report = self_test(engine, stager)
    except EnginesError as error:
        raise StartupError(f"model {name!r} ({path}): {error}") from error
    log.info("model_loaded", model=name, path=str(path), space_id=engine.spec.space_id, profile=engine.spec.profile)
    info = engine.info
    log.info("model_engine", model=name, engine=info.engine, device=info.device, precision=info.precision)
    if info.fallback_reason:
        log.warning("engine_fallback", model=name, reason=info.fallback_reason)
    times = {f"batch_{item.size}_ms": round(item.seconds * 1e3, 3) for item in report.timings}
    log.info("model_warm", model=name, **times)
    return engine
