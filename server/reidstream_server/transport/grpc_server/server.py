"""The gRPC port: it hosts services behind one guard, and adds health and reflection.

Health speaks for "" (the process), for each hosted service by its name, and for each model that was served at the start
by its name; it is never behind authentication. Trap: gRPC's own receive limit is 4 MiB; ours is set here and published,
and a client must set its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from typing_extensions import override

from reidstream_server.errors import StartupError
from reidstream_server.identity.access import Access
from reidstream_server.identity.tls import TlsMaterial
from reidstream_server.transport.addresses import GRPC, address_of, check_port
from reidstream_server.transport.door import Door
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.entrance.turns import Payments

from .admission import CallAdmission, CallBounds
from .calls import CallObserver
from .connections import call_options
from .ended import CallDurations, CallsEnded
from .forgetting import Forgetting
from .guard import Guard
from .health import HealthService
from .hosting import HostedService
from .receipts import Receipts
from .undecodable import keep_headers_out_of_the_log
from .unparsable import Unparsable

CALL_WINDOW_BYTES = 2**20
"""What a client may send of a call before somebody reads it. A message that is read may come at once, whatever its
size; this bounds what is sent ahead, so it is the most that comes in one round trip: 20 MB/s for a client that is
50 ms away. All sessions together (`max_sessions`) may have as much on the way as `max_receiving_bytes` allows.
"""

_KEEPALIVE_MS = 60_000
_MIN_PING_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen, and what connections may do. Without `tls` the port speaks plaintext.

    `max_structure_bytes`: the most bytes of a message beside its pixels. `accept_compression`: whether messages may
    come compressed. `calls_per_connection`: how many may be open at a time. `max_age_s`: after so long a connection
    takes no new calls, and its client makes another; 0: never.
    """

    host: str
    port: int
    max_message_bytes: int
    max_structure_bytes: int
    accept_compression: bool
    calls_per_connection: int
    max_age_s: float
    calls: CallBounds
    tls: TlsMaterial | None


class GrpcServer(Door):
    """A door: one listening port with its hosted services. `models`: names for health. `durations`: see `ended`.

    Event loop only.
    """

    def __init__(
        self,
        services: Sequence[HostedService],
        models: Sequence[str],
        listen: Listen,
        *,
        access: Access,
        check_leaving: Callable[[], None],
        entrance: Entrance,
        payments: Payments,
        observer: CallObserver,
        durations: CallDurations | None = None,
    ) -> None:
        keep_headers_out_of_the_log()
        self._listen = listen
        self.receipts = Receipts(observer)
        guard = Guard(services, access, check_leaving=check_leaving, observer=observer)
        names = [service.name for service in services]
        self.ended = CallsEnded(names, (health.SERVICE_NAME, reflection.SERVICE_NAME), durations)
        self.admission = CallAdmission(
            services,
            access,
            listen.calls,
            observer,
            entrance=entrance,
            payments=payments,
            connected=self.receipts.connected,
        )
        entrance.knows(self.receipts.connected)
        self._server = grpc.aio.server(
            interceptors=[
                Forgetting(),
                self.ended,
                self.receipts,
                self.admission,
                guard,
                Unparsable(services, listen.max_structure_bytes),
            ],
            options=[
                ("grpc.max_receive_message_length", listen.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.bdp_probe", 0),  # else a call's window grows to 16 MiB, whether somebody reads or not
                ("grpc.http2.lookahead_bytes", CALL_WINDOW_BYTES),
                ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),  # for idle streams behind proxies
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),  # a peer that lost its power keeps nothing open
                ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS),
                *call_options(listen.calls_per_connection),
                *_age(listen.max_age_s),
                *_compression(accepted=listen.accept_compression),
            ],
        )
        self._health = HealthService(listen.calls.stall_timeout_s)
        self._names = ("", *names, *models)
        for service in services:
            service.add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    @override
    async def listen(self) -> int:
        host, port = self._listen.host, self._listen.port
        address = address_of(host, port)
        try:
            number = self._bind(address)
        except RuntimeError as error:
            check_port(host, port, GRPC)  # gRPC says only that it cannot
            raise StartupError(f"cannot listen on {address}: {error}; choose another --host or --port") from error
        self.receipts.port = number
        return number

    @override
    async def serve(self) -> None:
        await self._server.start()
        await self.set_serving(serving=True)

    def _bind(self, address: str) -> int:
        tls = self._listen.tls
        if tls is None:
            return self._server.add_insecure_port(address)
        pair = [(tls.key, tls.certificate)]
        credentials = grpc.ssl_server_credentials(pair, tls.client_ca, require_client_auth=tls.client_ca is not None)
        return self._server.add_secure_port(address, credentials)

    @override
    async def set_serving(self, *, serving: bool) -> None:
        self._health.set(self._names, serving=serving)

    @override
    async def stop(self, grace_s: float) -> None:
        self.admission.turns.close()
        self.admission.own_turns.close()
        await self._server.stop(grace_s)


def _age(seconds: float) -> list[tuple[str, int]]:
    """The option for a connection's age. gRPC varies it by a tenth, so clients do not all come back at once."""
    return [("grpc.max_connection_age_ms", max(1, int(seconds * 1000)))] if seconds else []


def _compression(*, accepted: bool) -> list[tuple[str, int]]:
    """The option that has gRPC refuse every compressed message: only the identity is left, the first bit."""
    return [] if accepted else [("grpc.compression_enabled_algorithms_bitset", 1)]
