"""One HTTP connection: uvicorn's, with the bounds that it does not have.

uvicorn reads as much of a body as it has room for before anybody asks, takes heads of any size for any time, queues
any number of requests that come before their answers, and lets a request's task run on when its client is gone.

Traps: reading pauses when a head is complete, and goes on when somebody reads the body: so a request that waits for its
turn holds one piece of what the socket had, and no more. What comes after an answer is read and dropped for a moment,
since closing a socket with unread bytes destroys the answer that is on its way. And whoever is asked to end in a
callback of the parser must not touch the parser.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .requests import Body
from .responses import Response, plain_answer, refusal

MAX_HEAD_BYTES = 16 * 2**10
HEAD_S = 10.0
"""For a head to arrive, from its first byte or from the opening of the connection."""

LINGER_S = 2.0
"""How long what a client still sends is dropped after its answer, before the connection is cut."""

PIECE_BYTES = 64 * 2**10
"""What is read of a socket at a time."""

_MAX_PIPELINED = 8
_QUIET = logging.getLogger(f"{__name__}.uvicorn")
_QUIET.disabled = True  # a line for each bad request would fill the log; refusals are counted


_SEPARATORS = len(": \r\n")

_BAD = refusal(400, "the request is not HTTP/1.1 that can be understood")
_TOO_LONG = refusal(431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes")
_TOO_MANY = refusal(400, f"more than {_MAX_PIPELINED} requests came before their answers; wait for answers")


class Crowd(Protocol):
    """All connections of the port."""

    __slots__ = ()

    @abstractmethod
    def came(self, connection: HttpConnection) -> None:
        """A connection was opened; another may be ended for it."""
        ...

    @abstractmethod
    def left(self, connection: HttpConnection) -> None:
        """It is over."""
        ...


class HttpConnection(HttpToolsProtocol):
    """Event loop only. `peer`: its other end, as gRPC writes it. `body`: of the request that is being answered. `why`:
    set when that is to be ended.
    """

    def __init__(self, config: Config, state: ServerState, crowd: Crowd) -> None:
        super().__init__(config, state, {})
        self._crowd = crowd
        self.logger = _QUIET
        self._head_bytes = 0
        self._in_head = True
        self._whole = True
        self._late: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._refused = False
        self._why_bad = _BAD
        self.peer = ""
        self.body: Body | None = None
        self.why = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    @property
    def held_bytes(self) -> int:
        """Of the body that is being read or answered. Any thread."""
        cycle: RequestResponseCycle | None = self.cycle
        return 0 if cycle is None else len(cycle.body) + (0 if self.body is None else self.body.count)

    def end_call(self, why: str) -> None:
        """Have the request that is being answered end with a refusal."""
        if self.busy and self._task is not None and not self.why:
            self.why = why
            self._task.cancel()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What answers the newest request."""
        return self._task

    async def taken(self) -> None:
        """Return when the client has taken almost all of what was written."""
        await self.flow.drain()

    def cut(self) -> None:
        """End it at once."""
        self.transport.abort()

    def turn_away(self) -> None:
        """There are too many connections: say so, and end."""
        wait = [(b"retry-after", b"1")]
        self._refuse(refusal(503, "too many connections are busy; come back in a second", headers=wait))

    # The connection.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if hasattr(transport, "max_size"):
            transport.max_size = PIECE_BYTES
        host, port = self.client or ("", 0)
        self.peer = f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
        self.app_state = {
            "connection": self,
            "certificate_names": names_in_certificate(transport.get_extra_info("peercert")),
        }
        self._end_in(HEAD_S)
        self._crowd.came(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        if self._task is not None and self.busy:
            self._task.cancel()
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._crowd.left(self)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._late is None:
                self._end_in(HEAD_S)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LONG)

    # What the parser tells.

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._whole = True, False

    @override
    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + _SEPARATORS for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._why_bad = _TOO_LONG
            raise ValueError  # the parser makes it a bad request
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._why_bad = _TOO_MANY
            raise ValueError
        self._in_head, self._head_bytes = False, 0
        self._in_time()
        super().on_headers_complete()
        self.flow.pause_reading()

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._whole, self._head_bytes = True, True, 0
        if not self.busy:
            self._in_time()  # it lingers no more
            self._wait_for_next()

    @override
    def on_response_complete(self) -> None:
        self.body, self.why = None, ""
        lingers = not self._whole and not self.pipeline
        super().on_response_complete()
        if lingers and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._end_in(LINGER_S)

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Ends.

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(self._why_bad)

    @override
    def timeout_keep_alive_handler(self) -> None:
        """Nothing is asked any more. What the client has not taken by now is dropped."""
        self.cut()

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: the request is answered as if it had not asked to speak something else."""

    def _refuse(self, answer: Response) -> None:
        """Answer what is no request, and end."""
        if not self._refused:
            self._refused = True
            if not self.busy:
                self.transport.write(plain_answer(answer))
            self._end_in(LINGER_S)

    def _wait_for_next(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end_in(self, seconds: float) -> None:
        self._in_time()
        self._late = self.loop.call_later(seconds, self.transport.abort)


def names_in_certificate(certificate: Mapping[str, Any] | None) -> Sequence[bytes]:
    """As gRPC tells them: the subject's alternative names, then its common names. `certificate`: as `ssl` tells it."""
    if not certificate:
        return ()
    names = [value for _, value in certificate.get("subjectAltName", ())]
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    names += [value for key, value in subject if key == "commonName"]
    return [name.encode() for name in names]
