"""What every door stands on: the runtime with its models, the intake, who may call, the entrance, and the metrics.

Trap: they are made in this order, and end in the other one. The budget of memory is measured when everything is loaded
and nothing is served.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from reidstream_server.bounds import (
    entrance_bounds,
    frame_limits,
    memory_bounds,
    scheduler_limits,
    track_bounds,
)
from reidstream_server.config import ServerConfig
from reidstream_server.identity.access import Access
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.loading import Engines
from reidstream_server.logs import lines_dropped
from reidstream_server.memory.allocator import give_back_free_memory
from reidstream_server.memory.budget import Bounds, MemoryBudget, memory_budget
from reidstream_server.memory.process import private_bytes
from reidstream_server.metrics.devices import DeviceCollector
from reidstream_server.metrics.log import LogCollector
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.metrics.series import Series
from reidstream_server.metrics.state import StateCollector
from reidstream_server.metrics.tracing import TracingCollector, TracingFigures
from reidstream_server.runtime import losses
from reidstream_server.runtime.observers import Observers
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.trace import FrameTracer
from reidstream_server.starting import access_of
from reidstream_server.tracing.frames import SamplingTracer
from reidstream_server.tracing.setup import running_tracer
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.kserve.counts import InferenceCounts

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every door stands on, running. Event loop only. `bounds`: what `budget` is made of."""

    config: ServerConfig
    runtime: Runtime
    intake: FrameIntake
    access: Access
    observer: MetricsObserver
    series: Series
    registry: CollectorRegistry
    bounds: Bounds
    budget: MemoryBudget
    tracer: FrameTracer | None
    entrance: Entrance
    counts: InferenceCounts | None


@asynccontextmanager
async def running_parts(config: ServerConfig, loaded: Engines) -> AsyncIterator[Parts]:
    """Everything behind the doors, started; whatever is still open at the end is dropped."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    series = Series(registry)
    limits = scheduler_limits(config)
    observer = MetricsObserver(series)
    async with AsyncExitStack() as stack:
        traces = config.tracing
        tracer = await stack.enter_async_context(
            running_tracer(traces.tracing_endpoint, traces.tracing_ratio, os.environ)
        )
        bounds = measured_bounds(config)
        counts = InferenceCounts() if config.listen.kserve or config.listen.triton_metrics else None
        told = observer if counts is None else Observers((observer, counts))
        runtime = await stack.enter_async_context(Runtime(limits, loaded.stager, told, track_bounds(config)))
        for engine in loaded.engines:
            runtime.add_model(engine)
        for name, report in loaded.self_tests.items():
            series.self_tested(name, report.min_cosine)
        loop = asyncio.get_running_loop()
        state = StateCollector(
            loop,
            runtime,
            limits,
            max_sessions=config.limits.max_sessions,
            max_track_bytes=bounds.max_track_bytes,
            refusals=observer.refusals,
        )
        registry.register(state)
        registry.register(DeviceCollector(loaded.stager))
        registry.register(LogCollector(lines_dropped))
        registry.register(TracingCollector(partial(tracing_figures, tracer)))
        watching = asyncio.create_task(_watch_losses(runtime))
        try:
            yield Parts(
                config=config,
                runtime=runtime,
                intake=FrameIntake(limits=frame_limits(config), stager=loaded.stager),
                access=access_of(config.security),
                observer=observer,
                series=series,
                registry=registry,
                bounds=bounds,
                budget=memory_budget(bounds),
                tracer=tracer,
                entrance=Entrance(entrance_bounds(config), runtime, runtime.serves_others),
                counts=counts,
            )
        finally:
            watching.cancel()


def tracing_figures(tracer: SamplingTracer | None) -> TracingFigures:
    """As the metrics show them."""
    if tracer is None:
        return TracingFigures()
    return TracingFigures(spans=asdict(tracer.queue.figures), ignored=tracer.broken)


async def _watch_losses(runtime: Runtime) -> None:
    """Have the log told every minute who loses frames, until cancelled."""
    while True:
        await asyncio.sleep(losses.LOOK_S)
        runtime.losses.look(runtime.sessions(), time.monotonic_ns())


def measured_bounds(config: ServerConfig) -> Bounds:
    """What the budget is made of. Call it when everything is loaded, and nothing is served."""
    give_back_free_memory(scheduler_limits(config).cores)
    return memory_bounds(config, private_bytes() or 0)
