"""The composition root: the only place that sees everything.

    load -> warm up, self-test -> doors open -> SERVING ... NOT_SERVING -> Drain -> accepted frames answered -> stop

Trap: a door opens only when every model is warmed, and closes only when every accepted frame is answered or the drain's
time is over. The operators' port is there before and after. "Leaving" is known in one place, the runtime; every door
asks there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from reidstream_server import __version__
from reidstream_server.bounds import (
    HTTP_ANSWERS_BYTES,
    MAX_HTTP_CONNECTIONS,
    call_limits,
    calls_per_connection,
    entrance_bounds,
    frame_limits,
    memory_bounds,
    port_bounds,
    published_limits,
    scheduler_limits,
    structure_bytes,
)
from reidstream_server.config import ServerConfig
from reidstream_server.core.terms import DrainReason
from reidstream_server.identity.access import Access
from reidstream_server.identity.admin import AdminAccess
from reidstream_server.intake.frames import FrameIntake
from reidstream_server.loading import Engines
from reidstream_server.logs import get_logger, lines_dropped
from reidstream_server.memory.allocator import give_back_free_memory
from reidstream_server.memory.budget import Bounds, MemoryBudget, Part, held_by, memory_budget
from reidstream_server.memory.machine import machine_memory, too_large
from reidstream_server.memory.process import private_bytes
from reidstream_server.memory.rule import WatchRule
from reidstream_server.memory.watch import MemoryWatch, Senses, Together
from reidstream_server.metrics.calls import CallCollector, CallFigures
from reidstream_server.metrics.devices import DeviceCollector
from reidstream_server.metrics.exposition import TextFormat, page
from reidstream_server.metrics.log import LogCollector
from reidstream_server.metrics.memory import MemoryCollector
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.metrics.rpc import RpcMetrics
from reidstream_server.metrics.series import Series
from reidstream_server.metrics.state import StateCollector
from reidstream_server.metrics.tracing import TracingCollector, TracingFigures
from reidstream_server.runtime import losses
from reidstream_server.runtime.from_loop import FromLoop
from reidstream_server.runtime.observers import Observers
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.runtime.trace import FrameTracer
from reidstream_server.starting import access_of, http_tls_of, tls_of
from reidstream_server.stopping import Stop
from reidstream_server.tracing.frames import SamplingTracer
from reidstream_server.tracing.setup import running_tracer
from reidstream_server.transport.addresses import address_of
from reidstream_server.transport.admin.service import AdminService
from reidstream_server.transport.admin.state import ServerLook
from reidstream_server.transport.door import Door
from reidstream_server.transport.embedding.service import EmbeddingService
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.server import GrpcServer, Listen
from reidstream_server.transport.kserve.counts import InferenceCounts
from reidstream_server.transport.kserve.inference import Inference
from reidstream_server.transport.operators.health import Health, look_at
from reidstream_server.transport.operators.port import OperatorsPort
from reidstream_server.transport.operators.scrapes import Form

if TYPE_CHECKING:
    from reidstream_server.transport.http_server.server import HttpServer
    from reidstream_server.transport.kserve.described import Described

log = get_logger(__name__)

EXIT_ENGINE_LOST = 70  # EX_SOFTWARE
EXIT_DRAIN_TIMEOUT = 75  # EX_TEMPFAIL
_ACCOUNTS_S = 0.2  # that the watch waits for a busy event loop
_LAST_WORDS_S = 1.0  # for calls that are still open when everything is answered


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


class RunningServer:
    """A server that takes frames. Event loop only."""

    def __init__(
        self,
        parts: Parts,
        embedding: EmbeddingService,
        doors: Sequence[Door],
        operators: OperatorsPort | None = None,
        watch: MemoryWatch | None = None,
    ) -> None:
        self.watch = watch
        self.parts = parts
        self.embedding = embedding
        self.runtime = parts.runtime
        self.doors = doors
        self.ports: tuple[int, ...] = ()
        self._operators = operators

    @property
    def port(self) -> int:
        """Of the gRPC door."""
        return self.ports[0]

    @property
    def http_port(self) -> int | None:
        """Of the HTTP door; None without it."""
        return self.ports[1] if len(self.ports) > 1 else None

    @property
    def metrics_port(self) -> int | None:
        """Of metrics and probes; None without them."""
        return None if self._operators is None else self._operators.number

    async def start(self) -> None:
        """Take every port, then serve at all of them. Raises StartupError, with nobody served."""
        self.ports = tuple([await door.listen() for door in self.doors])
        for door in self.doors:
            await door.serve()
        if self.watch is not None:
            self.watch.start()
        self.parts.series.ready.set(1)
        if self._operators is not None:
            self._operators.health.serves(self.runtime)

    async def drain(self) -> bool:
        """Answer what was accepted, then stop; False if the time was over before that."""
        deadline_s = self.parts.config.lifecycle.drain_timeout_s
        self.runtime.leave()
        self.parts.series.ready.set(0)
        await _at_each(self.doors, lambda door: door.set_serving(serving=False))
        log.info("draining", sessions=self.runtime.open_sessions, deadline_s=deadline_s)
        complete = await self.runtime.drain(DrainReason.SHUTDOWN, deadline_s)
        await self.stop(_LAST_WORDS_S)
        log.info("stopped", complete=complete)
        return complete

    async def stop(self, grace_s: float) -> None:
        """Close every door; calls that are open have `grace_s` to end. Harmless to repeat."""
        if self.watch is not None:
            await asyncio.to_thread(self.watch.stop)  # it may be asking the event loop
        await _at_each(self.doors, lambda door: door.stop(grace_s))
        self.parts.entrance.close()
        if self._operators is not None:
            self._operators.health.over()


async def _at_each(doors: Sequence[Door], act: Callable[[Door], Awaitable[None]]) -> None:
    """Do it at all doors at once. One that fails is told in the log, and keeps no other from it."""
    for found in await asyncio.gather(*map(act, doors), return_exceptions=True):
        if isinstance(found, Exception):
            log.failure("door_failed", found)


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
        counts = InferenceCounts() if config.listen.kserve else None
        told = observer if counts is None else Observers((observer, counts))
        runtime = await stack.enter_async_context(Runtime(limits, loaded.stager, told))
        for engine in loaded.engines:
            runtime.add_model(engine)
        for name, report in loaded.self_tests.items():
            series.self_tested(name, report.min_cosine)
        loop = asyncio.get_running_loop()
        state = StateCollector(
            loop, runtime, limits, max_sessions=config.limits.max_sessions, refusals=observer.refusals
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
                entrance=Entrance(entrance_bounds(config), runtime),
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


@asynccontextmanager
async def running_server(
    config: ServerConfig, loaded: Engines, operators: OperatorsPort | None = None
) -> AsyncIterator[RunningServer]:
    """The parts and their doors, open; whatever is still open at the end is dropped. Raises StartupError.

    `operators`: the port that shows its metrics and health, if there is one.
    """
    async with running_parts(config, loaded) as parts:
        embedding = embedding_service(parts)
        admin = admin_service(parts, calls=lambda: parts.entrance.places.taken)
        kserve = None if parts.counts is None else Kserve.of(parts, parts.counts)
        services = [embedding.hosted, admin.hosted, *([] if kserve is None else [kserve_service(parts, kserve)])]
        door = grpc_door(parts, services)
        http = None if config.listen.http_port is None else http_door(parts, config.listen.http_port, kserve)
        watch = memory_watch(parts, door, http)
        show_calls(parts, embedding, door, http)
        server = RunningServer(parts, embedding, [door, *([] if http is None else [http])], operators, watch)
        if operators is not None:
            operators.show_metrics([form_of(parts.registry, text) for text in TextFormat])
        try:
            await server.start()
            yield server
        finally:
            await server.stop(0.0)


def form_of(registry: CollectorRegistry, text: TextFormat) -> Form:
    """The page of metrics, for the operators' port."""
    return Form(content_type=text.value, write=partial(page, registry, text))


def measured_bounds(config: ServerConfig) -> Bounds:
    """What the budget is made of. Call it when everything is loaded, and nothing is served."""
    give_back_free_memory(scheduler_limits(config).cores)
    return memory_bounds(config, private_bytes() or 0)


def tell_budget(budget: MemoryBudget) -> None:
    """Have the log say how much memory the process may hold, and warn if there is less."""
    log.info(
        "memory_budget",
        total_mib=-(-budget.total_bytes // 2**20),
        one_client_mib=-(-budget.client_bytes // 2**20),
        base_mib=-(-budget.bytes_of(Part.BASE) // 2**20),
    )
    reason = too_large(budget.total_bytes, machine_memory())
    if reason is not None:
        log.warning("memory_budget_too_large", reason=reason)


def memory_watch(parts: Parts, door: GrpcServer, http: HttpServer | None) -> MemoryWatch:
    """Keeps what nobody counts within its bound; not started. What it sees is shown by the metrics."""
    bounds = parts.bounds

    def held_now() -> dict[Part, int]:
        return held_by(parts.runtime.statistics(), bounds, waiting_calls=door.admission.waiting)

    held = FromLoop(asyncio.get_running_loop(), held_now, _ACCOUNTS_S)
    rule = WatchRule(
        base_bytes=bounds.base_bytes,
        bound_bytes=bounds.max_receiving_bytes,
        idle_bytes=parts.budget.bytes_of(Part.SERVING),
    )
    senses = Senses(
        private_bytes=private_bytes,
        counted_bytes=lambda: sum(held().values()),
        give_back=partial(give_back_free_memory, scheduler_limits(parts.config).cores),
    )
    watch = MemoryWatch(
        rule,
        Together([door.receipts] if http is None else [door.receipts, http.crowd]),
        senses,
        bound_bytes=bounds.max_receiving_bytes,
    )
    parts.registry.register(MemoryCollector(parts.budget, held, private_bytes, watch))
    return watch


def show_calls(parts: Parts, embedding: EmbeddingService, door: GrpcServer, http: HttpServer | None) -> None:
    """Have the metrics tell how many calls are open, and how much one client has of them."""
    published = published_limits(parts.config)

    def ended() -> Iterator[tuple[tuple[str, str, str], int]]:
        for name, counts in (("grpc", door.ended.counts), ("http", {} if http is None else http.ended.counts)):
            for (method, status), count in counts.items():
                yield (name, method, status), count

    def figures() -> CallFigures:
        return CallFigures(
            sessions_of_largest=embedding.sessions_of_largest_client,
            sessions_per_client=published.max_sessions_per_client,
            calls=parts.entrance.places.taken,
            max_calls=published.max_calls,
            receiving=parts.entrance.reception.taken,
            ended=dict(ended()),
        )

    parts.registry.register(CallCollector(FromLoop(asyncio.get_running_loop(), figures, _ACCOUNTS_S)))


def embedding_service(parts: Parts) -> EmbeddingService:
    """The contract's own service."""
    return EmbeddingService(
        parts.runtime,
        parts.intake,
        limits=call_limits(parts.config),
        access=parts.access,
        observer=parts.observer,
        budget=parts.budget,
        apart=parts.entrance.apart,
        tracer=parts.tracer,
    )


def admin_service(parts: Parts, *, calls: Callable[[], int]) -> AdminService:
    """What operators see of the server. `calls`: unary calls in progress."""
    server = ServerLook(
        runtime=parts.runtime,
        limits=published_limits(parts.config),
        calls=calls,
        private_bytes=private_bytes,
        max_private_bytes=parts.budget.total_bytes,
    )
    return AdminService(
        parts.runtime,
        server,
        access=parts.access,
        admin=AdminAccess[parts.config.security.admin.name],
        observer=parts.observer,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kserve:
    """What both wires of the open inference protocol stand on."""

    inference: Inference
    described: Described

    @classmethod
    def of(cls, parts: Parts, counts: InferenceCounts) -> Kserve:
        """Of a server that serves it."""
        limits = parts.config.limits
        # Its messages have names that other packages have, too, so they are imported where they are needed.
        from reidstream_server.transport.kserve.described import Described  # noqa: PLC0415

        return cls(
            inference=Inference(parts.runtime, parts.intake, parts.entrance.apart, call_limits(parts.config).window),
            described=Described(
                parts.runtime.models,
                counts,
                max_crops=limits.max_boxes_per_frame,
                max_tensor_bytes=limits.max_message_bytes - structure_bytes(parts.config),
                leaving=lambda: parts.runtime.leaving,
            ),
        )


def kserve_service(parts: Parts, kserve: Kserve) -> HostedService:
    """The open inference protocol on the gRPC port."""
    from reidstream_server.transport.kserve.grpc_service import InferenceService  # noqa: PLC0415 - as above

    config = parts.config
    return InferenceService(
        kserve.inference,
        kserve.described,
        parts.entrance,
        access=parts.access,
        observer=parts.observer,
        max_streams=config.limits.max_sessions,
        stall_timeout_s=config.scheduling.stall_timeout_s,
        check_leaving=parts.runtime.refuse_when_leaving,
    ).hosted


def grpc_door(parts: Parts, services: Sequence[HostedService]) -> GrpcServer:
    """The gRPC port with these services on it. Raises StartupError for files of TLS that cannot be used."""
    config, tls = parts.config, tls_of(parts.config.security)
    if tls is not None and tls.expires_s is not None:
        parts.series.certificate_expires(tls.expires_s)
    return GrpcServer(
        services,
        [model.name for model in parts.runtime.models.models],
        Listen(
            host=config.listen.host,
            port=config.listen.port,
            max_message_bytes=config.limits.max_message_bytes,
            max_structure_bytes=structure_bytes(config),
            accept_compression=config.listen.accept_compression,
            calls_per_connection=calls_per_connection(config),
            max_age_s=config.lifecycle.max_connection_age_s,
            calls=port_bounds(config),
            tls=tls,
        ),
        access=parts.access,
        check_leaving=parts.runtime.refuse_when_leaving,
        entrance=parts.entrance,
        payments=parts.runtime,
        observer=parts.observer,
        durations=RpcMetrics(parts.registry) if config.listen.rpc_metrics else None,
    )


def http_door(parts: Parts, port: int, kserve: Kserve | None = None) -> HttpServer:
    """The HTTP port. Raises StartupError for files of TLS that cannot be used."""
    # What it needs is not installed everywhere, so it is imported where there is such a port.
    from reidstream_server.transport.http_server.held import HeldAnswers  # noqa: PLC0415
    from reidstream_server.transport.http_server.server import HttpListen, HttpServer  # noqa: PLC0415
    from reidstream_server.transport.rest.embed import EmbedCall  # noqa: PLC0415
    from reidstream_server.transport.rest.routes import rest_routes  # noqa: PLC0415

    config = parts.config
    held = HeldAnswers(HTTP_ANSWERS_BYTES)
    embed = EmbedCall(
        parts.runtime,
        parts.intake,
        parts.entrance,
        max_boxes=config.limits.max_boxes_per_frame,
        window=call_limits(config).window,
        held=held,
    )
    routes = [*rest_routes(embed, partial(look_at, parts.runtime), __version__)]
    if kserve is not None:
        from reidstream_server.transport.kserve.http_routes import kserve_routes  # noqa: PLC0415 - as its messages

        routes += kserve_routes(kserve.inference, kserve.described, parts.entrance, held)
    return HttpServer(
        routes,
        HttpListen(
            host=config.listen.http_host,
            port=port,
            max_body_bytes=config.limits.max_message_bytes,
            max_connections=MAX_HTTP_CONNECTIONS,
            stall_timeout_s=config.scheduling.stall_timeout_s,
            tls=http_tls_of(config.security),
        ),
        access=parts.access,
        entrance=parts.entrance,
        check_leaving=parts.runtime.refuse_when_leaving,
        refused=parts.observer.call_refused,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How serving ended: the process's exit code, and whether a thread is still inside an engine or a decoder."""

    code: int
    stuck: bool


async def serve(config: ServerConfig, loaded: Engines, stop: Stop, operators: OperatorsPort | None = None) -> Ending:
    """Run until a signal or a lost engine. Raises StartupError, ToldToStop."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(told.set)

    stop.while_serving(tell)
    async with running_server(config, loaded, operators) as server:
        tell_budget(server.parts.budget)
        log.info(
            "serving",
            address=address_of(config.listen.host, server.port),
            tls=config.security.tls_cert_file is not None,
            tokens=config.security.tokens_file is not None,
            **({} if server.http_port is None else {"http_port": server.http_port}),
            metrics_port=server.metrics_port,
            models=",".join(engine.spec.name for engine in loaded.engines),
        )
        server.runtime.engine_died.add_done_callback(lambda _: told.set())
        await told.wait()
        complete = await server.drain()
        died = server.runtime.engine_died.done()
    code = EXIT_ENGINE_LOST if died else 0 if complete else EXIT_DRAIN_TIMEOUT
    stop.ending(code)
    return Ending(code=code, stuck=server.runtime.stuck)


@contextmanager
def operators_port(config: ServerConfig) -> Iterator[OperatorsPort | None]:
    """The port of metrics and probes, listening; None where it is turned off. Raises StartupError."""
    listen = config.listen
    if not listen.metrics_enabled:
        yield None
        return
    with OperatorsPort(listen.metrics_host, listen.metrics_port, health=Health()) as port:
        yield port
