"""The HTTP port: every request passes the entrance that all doors share, and then its route's handler.

A request waits for its turn, takes the place of a call, and only then is its body read, which is its handler's
business. Trap: HTTP clients open connections as they like, so who has no name is known by its address, and not, as a
stream is, by its connection: a thousand uploads are one client's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from typing_extensions import override

from reidstream_server.errors import CallRefused, ReceivingFull, Refusal, Unauthenticated
from reidstream_server.identity.access import Access, Caller, Presented, source_of
from reidstream_server.logs import get_logger
from reidstream_server.transport.addresses import HTTP, listening
from reidstream_server.transport.door import Door
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.entrance.turns import CALL_NS

from .body import ClientGone
from .connection import HttpConnection
from .crowd import ConnectionCrowd
from .ended import RequestsEnded
from .listener import Listener
from .requests import Request
from .responses import Response, call_refused, refusal
from .routes import Call, Route, Routes
from .tasks import current_task
from .terms import ConnectionTerms

log = get_logger(__name__)

_BACKLOG = 1024
_FREE_NS = 50_000  # a request and a small picture: what a call costs has room for that
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep a connection that they do not use, so that they end it and not we."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListen:
    """Where to listen. `max_body_bytes`: of one request. `max_connections`: open ones. `stall_timeout_s`: for a client
    to take its answer.
    """

    host: str
    port: int
    max_body_bytes: int
    max_connections: int
    stall_timeout_s: float
    tls: ssl.SSLContext | None


class HttpServer(Door):
    """A door. `port`: its number, once it listens. Event loop only."""

    def __init__(
        self,
        routes: Sequence[Route],
        listen: HttpListen,
        *,
        access: Access,
        entrance: Entrance,
        check_leaving: Callable[[], None],
        refused: Callable[[Refusal], None],
    ) -> None:
        self._routes = Routes(routes)
        self._listen = listen
        self._access = access
        self._entrance = entrance
        self._check_leaving = check_leaving
        self._refused = refused
        self.ended = RequestsEnded(self._routes.all)
        self.crowd = ConnectionCrowd(listen.max_connections, self._pay)
        entrance.knows(self.crowd.connected)
        self.port = 0
        self._socket: socket.socket | None = None
        self._listener: Listener | None = None

    # The door.

    @override
    async def listen(self) -> int:
        self._socket = listening(self._listen.host, self._listen.port, HTTP, _BACKLOG)
        self.port = int(self._socket.getsockname()[1])
        return self.port

    @override
    async def serve(self) -> None:
        if self._socket is None:
            raise AssertionError("a door listens before it serves")
        terms = ConnectionTerms(
            answer=self._answer,
            crowd=self.crowd,
            max_body_bytes=self._listen.max_body_bytes,
            keep_alive_s=_KEEP_ALIVE_S,
        )
        self._listener = Listener(self._socket, partial(HttpConnection, terms), self._listen.tls)

    @override
    async def set_serving(self, *, serving: bool) -> None:
        """Nothing: /readyz asks the runtime."""

    @override
    async def stop(self, grace_s: float) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        elif self._socket is not None:
            self._socket.close()
        self._entrance.turns.close()
        await self.crowd.end(grace_s)

    # Requests.

    async def _answer(self, connection: HttpConnection, request: Request) -> None:
        """One request, from its turn to its answer, which the connection writes."""
        route: Route | None = None
        self._pay(connection)
        try:
            found = self._routes.find(request.method, request.path)
            if isinstance(found, Response):
                await self._entrance.turns.wait(source_of(request.address), request.peer, CALL_NS)
                response = found
            else:
                route = found[0]
                response = await self._call(connection, request, *found)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not connection.why:
                raise
            current_task().uncancel()
            self._refused(Refusal.RECEIVING_FULL)
            response = call_refused(ReceivingFull(connection.why))
        except CallRefused as error:
            self._refused(error.refusal)
            response = call_refused(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            log.failure("call_failed", error)
            response = refusal(500, "internal error; the server's log has the details", reason="internal")
        self._pay(connection)
        self.ended.count(route, response.status)
        if route is not None and route.refused is not None and response.status >= HTTPStatus.BAD_REQUEST:
            response = route.refused(response)
        await connection.answer(response, self._listen.stall_timeout_s)  # in progress until it is taken

    async def _call(
        self, connection: HttpConnection, request: Request, route: Route, names: Mapping[str, str]
    ) -> Response:
        """Raises CallRefused, ClientGone."""
        if route.public:
            source = source_of(request.address)
            await self._entrance.turns.wait(source, request.peer, CALL_NS)
            return await route.handler(Call(request=request, caller=Caller(client="", source=source), names=names))
        try:
            caller = self._access.caller_of(
                Presented(
                    authorization=request.values("authorization"),
                    certificate_names=request.certificate_names,
                    connection=request.address,
                )
            )
        except Unauthenticated:
            await self._entrance.turns.wait(source_of(request.address), request.peer, CALL_NS)
            raise
        connection.source = caller.source
        await self._entrance.turns.wait(caller.source, request.peer, CALL_NS)
        self._check_leaving()
        self._entrance.places.enter(caller.source)
        return await route.handler(Call(request=request, caller=caller, names=names))

    def _pay(self, connection: HttpConnection) -> None:
        """Whoever sends much waits before its next call: its bytes were read on the event loop."""
        cost_ns = connection.incoming.cost_ns()
        if cost_ns > _FREE_NS:
            self._entrance.turns.charge(connection.source, cost_ns)
