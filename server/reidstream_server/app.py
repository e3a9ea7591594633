"""The composition root: the only place that sees everything.

    load -> warm up, self-test -> listen -> SERVING ... NOT_SERVING -> Drain -> accepted frames answered -> stop

Trap: the port opens only when every model is warmed, and closes only when every accepted frame is answered or the
drain's time is over. Metrics are there before and after.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.process_collector import ProcessCollector

from reidstream_server.bounds import call_limits, frame_limits, scheduler_limits
from reidstream_server.config import SecuritySettings, ServerConfig
from reidstream_server.core.terms import DrainReason
from reidstream_server.errors import StartupError
from reidstream_server.loading import Engines
from reidstream_server.logs import get_logger
from reidstream_server.metrics.devices import DeviceCollector
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.metrics.series import Series
from reidstream_server.metrics.state import StateCollector
from reidstream_server.runtime.models import ModelTable
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.transport.embedding import EmbeddingService
from reidstream_server.transport.endpoint import Endpoint, address_of
from reidstream_server.transport.frames import FrameParser
from reidstream_server.transport.security import Access, TlsFiles, server_credentials
from reidstream_server.transport.tokens import TokenFile

log = get_logger(__name__)

EXIT_ENGINE_LOST = 70  # EX_SOFTWARE
EXIT_DRAIN_TIMEOUT = 75  # EX_TEMPFAIL


class RunningServer:
    """A server that takes frames. Event loop only."""

    def __init__(
        self, runtime: Runtime, service: EmbeddingService, endpoint: Endpoint, series: Series, config: ServerConfig
    ) -> None:
        self.service = service
        self._endpoint = endpoint
        self._series = series
        self._config = config
        self.runtime = runtime
        self.port = 0
        self.metrics_port: int | None = None

    async def start(self) -> None:
        """Listen. Raises StartupError."""
        self.port = await self._endpoint.start(self._config.listen.host, self._config.listen.port)
        self._series.ready.set(1)

    async def drain(self) -> bool:
        """Answer what was accepted, then stop; False if the time was over before that."""
        self.service.going_away = True
        self._series.ready.set(0)
        await self._endpoint.set_serving(serving=False)
        log.info("draining", sessions=self.runtime.open_sessions, deadline_s=self._config.lifecycle.drain_timeout_s)
        complete = await self.runtime.drain(DrainReason.SHUTDOWN, self._config.lifecycle.drain_timeout_s)
        await self._endpoint.stop(grace_s=1.0)
        log.info("stopped", complete=complete)
        return complete


@asynccontextmanager
async def running_server(config: ServerConfig, loaded: Engines) -> AsyncIterator[RunningServer]:
    """Everything behind the ports, started; whatever is still open at the end is dropped. Raises StartupError."""
    loop = asyncio.get_running_loop()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    series = Series(registry, loaded.engines)
    models = ModelTable(loaded.engines)
    names = [model.name for model in models.models]
    limits = scheduler_limits(config)
    async with AsyncExitStack() as stack:
        observer = MetricsObserver(series, loaded.engines)
        runtime = await stack.enter_async_context(Runtime(limits, models, loaded.stager, observer))
        registry.register(StateCollector(loop, runtime.statistics, limits, names, config.limits.max_sessions))
        registry.register(DeviceCollector(loaded.stager))
        parser = FrameParser(limits=frame_limits(config), models=models, stager=loaded.stager)
        access = access_of(config.security)
        service = EmbeddingService(
            runtime, models, parser, limits=call_limits(config), access=access, observer=observer
        )
        endpoint = Endpoint(
            service,
            names,
            config.limits.max_message_bytes,
            max_age_s=config.lifecycle.max_connection_age_s,
            access=access,
            observer=observer,
            credentials=credentials_of(config.security),
        )
        server = RunningServer(runtime, service, endpoint, series, config)
        if config.listen.metrics_enabled:
            server.metrics_port = stack.enter_context(_metrics(config, registry))
        stack.push_async_callback(endpoint.stop, 0.0)
        await server.start()
        yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How serving ended: the process's exit code, and whether a thread is still inside an engine or a decoder."""

    code: int
    stuck: bool


async def serve(config: ServerConfig, loaded: Engines) -> Ending:
    """Run until SIGTERM, SIGINT or a lost engine. Raises StartupError."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_server(config, loaded) as server:
        log.info(
            "serving",
            address=address_of(config.listen.host, server.port),
            tls=config.security.tls_cert_file is not None,
            tokens=config.security.tokens_file is not None,
            metrics_port=server.metrics_port,
            models=",".join(engine.spec.name for engine in loaded.engines),
        )
        server.runtime.engine_died.add_done_callback(lambda _: stop.set())
        await stop.wait()
        complete = await server.drain()
        died = server.runtime.engine_died.done()
    code = EXIT_ENGINE_LOST if died else 0 if complete else EXIT_DRAIN_TIMEOUT
    return Ending(code=code, stuck=server.runtime.stuck)


def access_of(security: SecuritySettings) -> Access:
    """Who may call. Raises StartupError."""
    tokens = None if security.tokens_file is None else TokenFile(security.tokens_file)
    return Access(tokens=tokens, certificates=security.tls_client_ca_file is not None)


def credentials_of(security: SecuritySettings) -> grpc.ServerCredentials | None:
    """The port's; None without TLS. Raises StartupError."""
    if security.tls_cert_file is None or security.tls_key_file is None:
        return None
    return server_credentials(
        TlsFiles(certificate=security.tls_cert_file, key=security.tls_key_file, client_ca=security.tls_client_ca_file)
    )


@contextmanager
def _metrics(config: ServerConfig, registry: CollectorRegistry) -> Iterator[int]:
    """Prometheus's port, in a thread of its own."""
    try:
        httpd, thread = start_http_server(config.listen.metrics_port, config.listen.metrics_host, registry)
    except OSError as error:
        where = f"{config.listen.metrics_host}:{config.listen.metrics_port}"
        raise StartupError(f"cannot listen on {where} for metrics: {error}; choose another --metrics-port") from error
    try:
        yield int(httpd.server_address[1])
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
