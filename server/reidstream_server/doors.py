"""Services and ports, made of the parts: one function for each.

Trap: what the HTTP port needs is not installed everywhere, and the messages of the open inference protocol have names
that other packages have, too. So both are imported where a server has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reidstream_server import __version__
from reidstream_server.bounds import (
    HTTP_ANSWERS_BYTES,
    MAX_HTTP_CONNECTIONS,
    call_limits,
    calls_per_connection,
    port_bounds,
    published_limits,
    structure_bytes,
)
from reidstream_server.identity.admin import AdminAccess
from reidstream_server.memory.process import private_bytes
from reidstream_server.metrics.rpc import RpcMetrics
from reidstream_server.starting import http_tls_of, tls_of
from reidstream_server.transport.admin.service import AdminService
from reidstream_server.transport.admin.state import ServerLook
from reidstream_server.transport.embedding.service import EmbeddingService
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.server import GrpcServer, Listen
from reidstream_server.transport.kserve.inference import Inference
from reidstream_server.transport.kserve.regions import DoorRegions, Regions
from reidstream_server.transport.local_users import LocalUsers
from reidstream_server.transport.operators.health import look_at

if TYPE_CHECKING:
    from reidstream_server.transport.http_server.server import HttpServer
    from reidstream_server.transport.kserve.described import Described
    from reidstream_server.transport.kserve.grpc_service import InferenceService

from reidstream_server.parts import Parts


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
    """What both wires of the open inference protocol stand on. `regions`: None where shared memory is turned off."""

    inference: Inference
    described: Described
    regions: Regions | None

    @classmethod
    def of(cls, parts: Parts) -> Kserve:
        """Of a server that serves it."""
        limits = parts.config.limits
        max_tensor_bytes = limits.max_message_bytes - structure_bytes(parts.config)
        if parts.counts is None:
            raise AssertionError("a server that serves the protocol counts for it")
        # Its messages have names that other packages have, too, so they are imported where they are needed.
        from reidstream_server.transport.kserve.described import Described  # noqa: PLC0415

        return cls(
            inference=Inference(
                parts.runtime,
                parts.intake,
                parts.entrance.apart,
                call_limits(parts.config).window,
                parts.tracer,
                max_tensor_bytes=max_tensor_bytes,
            ),
            described=Described(
                parts.runtime.models,
                parts.counts,
                max_crops=limits.max_boxes_per_frame,
                max_tensor_bytes=max_tensor_bytes,
                shared_memory=limits.kserve_shared_memory,
                leaving=lambda: parts.runtime.leaving,
            ),
            regions=Regions(limits.max_kserve_region_bytes) if limits.kserve_shared_memory else None,
        )


def kserve_service(parts: Parts, kserve: Kserve, port: Callable[[], int]) -> InferenceService:
    """The open inference protocol on the gRPC port, whose number is asked for when it listens."""
    from reidstream_server.transport.kserve.grpc_service import InferenceService  # noqa: PLC0415 - as above
    from reidstream_server.transport.kserve.grpc_stream import StreamTimes  # noqa: PLC0415

    config, scheduling = parts.config, parts.config.scheduling
    return InferenceService(
        kserve.inference,
        kserve.described,
        parts.entrance,
        DoorRegions(kserve.regions, LocalUsers(port)),
        access=parts.access,
        observer=parts.observer,
        max_streams=config.limits.max_sessions,
        times=StreamTimes(
            stall_timeout_s=scheduling.stall_timeout_s,
            open_timeout_s=scheduling.open_timeout_s,
            idle_timeout_s=scheduling.idle_timeout_s,
        ),
        check_leaving=parts.runtime.refuse_when_leaving,
    )


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

        regions = DoorRegions(kserve.regions, LocalUsers(lambda: server.port))
        routes += kserve_routes(kserve.inference, kserve.described, parts.entrance, regions, held)
    server = HttpServer(
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
    return server
