"""The composition root: a server from its start to its end.

    load -> warm up, self-test -> doors open -> SERVING ... NOT_SERVING -> Drain -> accepted frames answered -> stop

`parts` makes what is behind the doors, `doors` makes the doors, and `accounts` shows the metrics what they do.

Trap: a door opens only when every model is warmed, and closes only when every accepted frame is answered or the drain's
time is over. The operators' port is there before and after. "Leaving" is known in one place, the runtime; every door
asks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reidstream_server.accounts import form_of, memory_watch, show_calls, show_triton
from reidstream_server.config import ServerConfig
from reidstream_server.core.terms import DrainReason
from reidstream_server.doors import Kserve, admin_service, embedding_service, grpc_door, http_door, kserve_service
from reidstream_server.loading import Engines
from reidstream_server.logs import get_logger
from reidstream_server.memory.budget import MemoryBudget, Part
from reidstream_server.memory.machine import machine_memory, too_large
from reidstream_server.memory.watch import MemoryWatch
from reidstream_server.metrics.exposition import TextFormat
from reidstream_server.parts import Parts, running_parts
from reidstream_server.stopping import Stop
from reidstream_server.transport.addresses import address_of
from reidstream_server.transport.door import Door
from reidstream_server.transport.embedding.service import EmbeddingService
from reidstream_server.transport.operators.health import Health
from reidstream_server.transport.operators.port import OperatorsPort

if TYPE_CHECKING:  # its messages have names that other packages have, too
    from reidstream_server.transport.kserve.grpc_service import InferenceService

log = get_logger(__name__)

EXIT_ENGINE_LOST = 70  # EX_SOFTWARE
EXIT_DRAIN_TIMEOUT = 75  # EX_TEMPFAIL
_LAST_WORDS_S = 1.0  # for calls that are still open when everything is answered


class RunningServer:
    """A server that takes frames. Event loop only."""

    def __init__(
        self,
        parts: Parts,
        embedding: EmbeddingService,
        doors: Sequence[Door],
        operators: OperatorsPort | None = None,
        watch: MemoryWatch | None = None,
        *,
        requests: InferenceService | None = None,
    ) -> None:
        self.watch = watch
        self.requests = requests
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
async def running_server(
    config: ServerConfig, loaded: Engines, operators: OperatorsPort | None = None
) -> AsyncIterator[RunningServer]:
    """The parts and their doors, open; whatever is still open at the end is dropped. Raises StartupError.

    `operators`: the port that shows its metrics and health, if there is one.
    """
    async with running_parts(config, loaded) as parts:
        embedding = embedding_service(parts)
        admin = admin_service(parts, calls=lambda: parts.entrance.places.taken)
        kserve = Kserve.of(parts) if config.listen.kserve else None
        requests = None if kserve is None else kserve_service(parts, kserve, lambda: door.receipts.port)
        services = [embedding.hosted, admin.hosted, *([] if requests is None else [requests.hosted])]
        door = grpc_door(parts, services)
        http = None if config.listen.http_port is None else http_door(parts, config.listen.http_port, kserve)
        watch = memory_watch(parts, door, http, lambda: 0 if requests is None else requests.open_streams)
        show_calls(parts, embedding, door, http)
        if config.listen.triton_metrics:
            show_triton(parts)
        doors = [door, *([] if http is None else [http])]
        server = RunningServer(parts, embedding, doors, operators, watch, requests=requests)
        if operators is not None:
            operators.show_metrics([form_of(parts.registry, text) for text in TextFormat])
        try:
            await server.start()
            yield server
        finally:
            await server.stop(0.0)


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
