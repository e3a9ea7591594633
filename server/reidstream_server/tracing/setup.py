"""Whether a server traces, and how: its own settings, and OpenTelemetry's variables where those say nothing.

    --tracing-endpoint, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT    turns it on
    --tracing-ratio, or OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG                          how many frames
    OTEL_SDK_DISABLED=true, OTEL_TRACES_EXPORTER=none                                            turns it off

Why the variables count by themselves: whoever runs a collector sets them for all programs of a machine or a pod. So
they stop no start: what they ask for and is not there is told in the log. Our own flag does.

Trap: nothing here imports OpenTelemetry while tracing is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from reidstream_server.errors import StartupError
from reidstream_server.logs import get_logger

from .export import ExportQueue
from .frames import SamplingTracer
from .sampling import DEFAULT_RATIO, SAMPLERS, Sampler

log = get_logger(__name__)

INSTALL: Final = "pip install 'reidstream-server[tracing]'"
_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingPlan:
    """A server that traces. `endpoint`: None where OpenTelemetry's variables have it."""

    endpoint: str | None
    sampler: Sampler


def tracing_plan(endpoint: str | None, ratio: float | None, environ: Mapping[str, str]) -> TracingPlan | None:
    """How to trace; None: not at all. `endpoint`, `ratio`: the settings. Raises StartupError for a setting that cannot
    be followed; a variable that cannot is told in the log.
    """
    if endpoint is None and not any(environ.get(name) for name in _ENDPOINTS):
        return None
    if _says(environ, "OTEL_SDK_DISABLED", "true") or _says(environ, "OTEL_TRACES_EXPORTER", "none"):
        return None
    check_tracing(endpoint)
    problem = (_missing() or _wrong_protocol(environ)) if endpoint is None else None
    if problem is not None:
        log.warning("tracing_off", reason=problem)
        return None
    return TracingPlan(endpoint=endpoint, sampler=_sampler(ratio, environ))


def check_tracing(endpoint: str | None) -> None:
    """Raises StartupError for an endpoint that nothing here can export to."""
    if endpoint is not None and (missing := _missing()) is not None:
        raise StartupError(f"tracing_endpoint {endpoint}: {missing}")


@asynccontextmanager
async def running_tracer(
    endpoint: str | None, ratio: float | None, environ: Mapping[str, str]
) -> AsyncIterator[SamplingTracer | None]:
    """What records frames, until the last span is sent or has waited long enough; None if nothing is traced. Raises as
    `tracing_plan` does, and for a variable that the library cannot read.
    """
    plan = tracing_plan(endpoint, ratio, environ)
    if plan is None:
        yield None
        return
    tracer = _start(plan)
    try:
        yield tracer
    finally:
        await asyncio.to_thread(tracer.queue.close)


def _start(plan: TracingPlan) -> SamplingTracer:
    from .otlp import OtlpExporter  # noqa: PLC0415 - see the module

    try:
        exporter = OtlpExporter(plan.endpoint)
    except Exception as error:
        message = f"OpenTelemetry cannot export: {type(error).__name__}: {error}; look at the variables OTEL_EXPORTER_*"
        raise StartupError(message) from error
    return SamplingTracer(plan.sampler, ExportQueue(exporter))


def _says(environ: Mapping[str, str], name: str, value: str) -> bool:
    return environ.get(name, "").strip().lower() == value


def _missing() -> str | None:
    try:
        found = all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:  # of a package above it
        found = False
    return None if found else f"OpenTelemetry is not installed: {INSTALL}"


def _wrong_protocol(environ: Mapping[str, str]) -> str | None:
    for name in _PROTOCOLS:
        protocol = environ.get(name, "").strip().lower()
        if protocol == "grpc":
            return None
        if protocol:
            return (
                f"{name} is {protocol}, and this server exports by gRPC alone: give --tracing-endpoint the collector's "
                "gRPC port, usually 4317"
            )
    return None


def _sampler(ratio: float | None, environ: Mapping[str, str]) -> Sampler:
    """Our setting first. A word that is none, or a number that is none, is told and left out."""
    if ratio is not None:
        return Sampler(ratio=ratio)
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name:
        return Sampler()
    make = SAMPLERS.get(name)
    if make is None:
        words = ", ".join(SAMPLERS)
        log.warning("tracing_variable_ignored", variable="OTEL_TRACES_SAMPLER", value=name, known=words)
        return Sampler()
    return make(_share(environ))


def _share(environ: Mapping[str, str]) -> float:
    """OpenTelemetry's own default is 1: whoever names a sampler and no share wants that one's."""
    name = "OTEL_TRACES_SAMPLER_ARG"
    given = environ.get(name, "").strip()
    if not given:
        return 1.0
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if 0.0 <= share <= 1.0:
        return share
    log.warning("tracing_variable_ignored", variable=name, value=given, known="a number from 0 to 1")
    return DEFAULT_RATIO
