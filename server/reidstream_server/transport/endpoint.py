"""The gRPC server around the services: limits, health and reflection.

Health speaks for "" (the process), for the service's name, and for each model by its name; it is never behind
authentication. Trap: grpc's own receive limit is 4 MiB; ours is set on the server and published, and a client must set
its own.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from reidstream_proto.v1 import service_pb2, service_pb2_grpc
from reidstream_server.errors import StartupError

from .calls import CallObserver
from .parsing import Parsing
from .security import Access

_KEEPALIVE_MS = 60_000
_MIN_PING_MS = 10_000

SERVICE = service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name


class Endpoint:
    """One listening port; without credentials it has no TLS. Event loop only.

    `max_age_s`: after so long a connection takes no new calls, and its client makes another; 0: never.
    """

    def __init__(
        self,
        service: service_pb2_grpc.EmbeddingServiceServicer,
        models: Sequence[str],
        max_message_bytes: int,
        *,
        max_age_s: float,
        access: Access,
        observer: CallObserver,
        credentials: grpc.ServerCredentials | None,
    ) -> None:
        self._credentials = credentials
        self._server = grpc.aio.server(
            interceptors=[*access.doors(SERVICE, observer), Parsing(SERVICE)],
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),  # for idle streams behind proxies
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),  # a peer that lost its power keeps nothing open
                ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS),
                *_age(max_age_s),
            ],
        )
        self._health = health.aio.HealthServicer()
        self._names = ("", SERVICE, *models)
        service_pb2_grpc.add_EmbeddingServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen and say SERVING; returns the port. Raises StartupError."""
        address = address_of(host, port)
        try:
            bound = self._listen(address)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: {_obstacle(host, port) or error}") from error
        await self._server.start()
        await self.set_serving(serving=True)
        return bound

    def _listen(self, address: str) -> int:
        if self._credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._credentials)

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health watchers."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Close the port; calls that are open have `grace_s` to end."""
        await self._server.stop(grace_s)


def _age(seconds: float) -> list[tuple[str, int]]:
    """GRPC adds or takes away up to a tenth, so that not all clients come at once. Calls that are open go on."""
    return [("grpc.max_connection_age_ms", max(1, int(seconds * 1000)))] if seconds else []


def _obstacle(host: str, port: int) -> str | None:
    """Why nobody can listen there, and what to do: gRPC says only that it cannot. None: now one can."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
                probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "the port is in use, perhaps by another reidstream-server; stop that, or choose another --port"
        return f"{error.strerror}; choose another --host or --port"
    return None


def address_of(host: str, port: int) -> str:
    """As gRPC clients write it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
