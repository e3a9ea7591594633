"""One HTTP connection: uvicorn's, with the bounds that it does not have.

uvicorn reads as much of a body as it has room for before anybody asks, takes heads and trailers of any size for any
time, queues any number of requests that come before their answers, and lets a request's task run on when its client is
gone. Its answers are two writes and a dozen checks, so answers are written here.

Traps: reading pauses when a body is not whole that nobody reads yet, and goes on when somebody does: so a request that
waits for its turn holds one piece of what the socket had, and no more. What comes after an answer is read and dropped
for a moment, since closing a socket with unread bytes destroys the answer that is on its way. What is no HTTP ends the
connection, but the requests before it are answered first, and one whose body it is hears so from its own answer. Of a
request that asks for an upgrade the parser takes the body for another protocol. And whoever is asked to end in a
callback of the parser must not touch the parser.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from typing_extensions import override
from uvicorn._types import ASGI3Application, ASGIReceiveEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from reidstream_server.errors import InvalidCall
from reidstream_server.identity.access import source_of

from .incoming import CHUNK_BYTES, MANY_CHUNKS, MAX_HEAD_BYTES, Incoming
from .requests import Body, names_in_certificate
from .responses import Response, refusal

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
_OF_AN_UPGRADE = (b"connection", b"upgrade", b"http2-settings")

_BAD_BODY = "the body is not what HTTP/1.1 calls one: a chunk has a wrong length, or trailers have no end"
_SMALL_CHUNKS = f"the body comes in more than {MANY_CHUNKS} chunks of less than {CHUNK_BYTES} bytes; send larger ones"
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
    """Event loop only. `peer`: its other end, as gRPC writes it. `address`: the same without the port. `source`: who is
    held responsible for what it sends, as far as that is known. `body`: of the request that is being answered. `why`:
    set when that is to be ended.
    """

    def __init__(self, config: Config, state: ServerState, crowd: Crowd) -> None:
        super().__init__(config, state, {})
        self._crowd = crowd
        self.logger = _QUIET
        self.incoming = Incoming()
        self._late: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._answering: RequestResponseCycle | None = None
        self._refused = False
        self._lost = False
        self._why_bad = _BAD
        self._why_bad_body = ""
        self._last: Response | None = None
        self.peer = self.address = self.source = ""
        self.body: Body | None = None
        self.why = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or its client takes the answer."""
        return self._asked or (self._task is not None and not self._task.done())

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

    async def answer(self, response: Response, within_s: float) -> None:
        """Write it, and return when the client has taken almost all of it. Whoever takes too long is cut off."""
        try:
            await self._room(within_s)
            self._write(response)
            await self._room(within_s)
        except TimeoutError:
            self.cut()
        else:
            if self.transport.is_closing() and not self._lost:
                self._end_in(within_s)  # for the rest

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
        self.address = f"ipv6:%5B{host}%5D" if ":" in host else f"ipv4:{host}"
        self.peer, self.source = f"{self.address}:{port}", source_of(self.address)
        self.app_state = {
            "connection": self,
            "certificate_names": names_in_certificate(transport.get_extra_info("peercert")),
        }
        self._end_in(HEAD_S)
        self._crowd.came(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._in_time()
        if self._answering is not None:
            self._answering.disconnected = True
        if self._task is not None:
            self._task.cancel()
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._crowd.left(self)

    @override
    def data_received(self, data: bytes) -> None:
        incoming = self.incoming
        incoming.came(len(data))
        if self._refused:
            return
        if incoming.in_head and self._late is None:
            self._end_in(HEAD_S)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
            return
        except HttpParserError:
            self._refuse(self._why_bad)
            return
        if incoming.head_too_long:
            self._refuse(_TOO_LONG)
        elif incoming.trailers_too_long:
            self._refuse(_BAD)
        elif not incoming.in_head and self.body is None and self._asked:
            self.flow.pause_reading()  # nobody reads the body yet

    # What the parser tells.

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.incoming.head_begins()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self.incoming.in_head:  # trailers are read and dropped
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + _SEPARATORS for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._why_bad = _TOO_LONG
            raise ValueError  # the parser makes it a bad request
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._why_bad = _TOO_MANY
            raise ValueError
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError
            return  # see `_without_upgrade`
        super().on_headers_complete()
        self.incoming.head_ends()
        self._in_time()

    @override
    def on_body(self, body: bytes) -> None:
        self.incoming.body(len(body))
        if self.incoming.chunks_too_small:
            self._why_bad_body = _SMALL_CHUNKS
            raise ValueError
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self.incoming.message_ends()
        if not self._asked:
            self._in_time()  # it lingers no more
            self._wait_for_next()

    @override
    def on_response_complete(self) -> None:
        cycle, self._answering = self._answering, None
        self.body, self.why = None, ""
        if cycle is None or self.transport.is_closing():
            return
        if not cycle.keep_alive:
            self.pipeline.clear()
            if cycle.more_body:
                self._end()
            else:
                self.transport.close()
            return
        more = bool(self.pipeline)
        super().on_response_complete()
        if more:
            self.flow.pause_reading()  # until the body of the next one is read
        elif self._last is not None:
            self._say_and_end(self._last)
        elif cycle.more_body:
            self._unset_keepalive_if_required()
            self._end_in(LINGER_S)
        elif self.incoming.begun:
            self._end_in(HEAD_S)

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        self._task = self.loop.create_task(self._run(cycle, app))

    async def _run(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """A request that gets no answer ends its connection, whatever the reason."""
        try:
            await app(cycle.scope, partial(self._receive, cycle), cycle.send)
        finally:
            if not cycle.response_complete:
                self.cut()

    async def _receive(self, cycle: RequestResponseCycle) -> ASGIReceiveEvent:
        """More of a body. Raises InvalidCall."""
        message = await cycle.receive()
        if self._why_bad_body and cycle is self.cycle and not cycle.response_complete:
            raise InvalidCall(self._why_bad_body)
        return message

    def _without_upgrade(self, rest: bytes) -> None:
        """Take the request as if it had not asked to speak something else, as Java's client does by itself."""
        method: bytes = self.parser.get_method()
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        kept = [(name, value) for name, value in self.headers if name not in _OF_AN_UPGRADE]
        closing = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        kept += [(b"connection", b"close")] if closing else []
        lines = b"".join([b"%b: %b\r\n" % header for header in kept])
        self.data_received(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self.url, lines, rest))

    # Ends.

    @override
    def timeout_keep_alive_handler(self) -> None:
        """Nothing is asked any more. What the client has not taken by now is dropped."""
        self.cut()

    @property
    def _asked(self) -> bool:
        """Whether a request has no answer yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, answer: Response) -> None:
        """What came is no HTTP: nothing more is read. The requests before it are answered, then it is."""
        if self._refused:
            return
        self._refused = True
        in_body = not self.incoming.in_head
        if self._asked and in_body:
            self._why_bad_body = self._why_bad_body or _BAD_BODY
            self.cycle.keep_alive = False
            self.cycle.message_event.set()
        elif self._asked:
            self._last = answer
        elif in_body:
            self._end()  # its request has been answered
        else:
            self._say_and_end(answer)

    def _say_and_end(self, answer: Response) -> None:
        self.transport.write(answer.head(keep_alive=False) + answer.body)
        self._end()

    def _end(self) -> None:
        """Say nothing more, and drop what still comes, for a moment."""
        self._refused = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._end_in(LINGER_S)
        if self.transport.can_write_eof():
            with suppress(OSError):  # it has gone, which the event loop does not know yet
                self.transport.write_eof()

    def _write(self, response: Response) -> None:
        """The answer to the oldest request that has none."""
        cycle = self._answering
        if cycle is None or cycle.response_complete:
            raise AssertionError("a request has one answer")
        head, body = response.head(keep_alive=cycle.keep_alive), response.body
        if cycle.scope["method"] == "HEAD":
            body = b""
        if not self.transport.is_closing():
            if len(body) <= PIECE_BYTES:
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                self.transport.write(body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()  # whoever still reads the body hears that it is over
        self.on_response_complete()

    async def _room(self, within_s: float) -> None:
        """Until little is written that is not taken. Raises TimeoutError."""
        if self.flow.write_paused:
            async with asyncio.timeout(within_s):
                await self.flow.drain()

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
