"""One HTTP connection: requests answered in order, bodies read when somebody reads them, an end for whoever is slow.

Traps: reading pauses when a large body is not whole and nobody reads it yet, and goes on when somebody does: so a
request that waits for its turn holds one piece of what the socket had, and no more. What comes after an answer is read
and dropped for a moment, since closing a socket with unread bytes destroys the answer that is on its way. What is no
HTTP ends the connection, but the requests before it are answered first, and one whose body it is hears so from its own
answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from typing_extensions import override

from reidstream_server.identity.access import source_of

from .body import Body
from .deadline import Deadline
from .requests import Exchange, Head, Request, declared_length, names_in_certificate
from .responses import Response, refusal
from .terms import ConnectionTerms
from .wire import MAX_PIPELINED, Hears, Wire

HEAD_S = 10.0
"""For a head to arrive, from its first byte or from the opening of the connection."""

LINGER_S = 2.0
"""How long what a client still sends is dropped after its answer, before the connection is cut."""

PIECE_BYTES = 64 * 2**10
"""What is read of a socket at a time."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_AWAY = refusal(503, "too many connections are busy; come back in a second", headers=[(b"retry-after", b"1")])


class HttpConnection(Hears, asyncio.Protocol):
    """Event loop only. `peer`: its other end, as gRPC writes it. `address`: the same without the port. `source`: who is
    held responsible for what it sends, as far as that is known. `why`: set when the request that is being answered is
    to be ended. `task`: what answers the newest request.
    """

    def __init__(self, terms: ConnectionTerms) -> None:
        self._terms = terms
        self.loop = asyncio.get_running_loop()
        self._wire = Wire(self)
        self.incoming = self._wire.incoming
        self._deadline = Deadline(self.loop, self.cut)
        self._newest: Exchange | None = None
        self._answering: Exchange | None = None
        self._in_line: deque[Exchange] = deque()
        self._working = 0  # tasks that answer
        self._reading = True
        self._head_is_timed = False
        self._refused = False
        self._lost = False
        self._last: Response | None = None
        self._taken: asyncio.Future[None] | None = None  # until the client takes what is written; None if it does
        self._names: Sequence[bytes] = ()
        self.task: asyncio.Task[None] | None = None
        self.peer = self.address = self.source = ""
        self.why = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or its client takes the answer."""
        return self._working > 0

    @property
    def held_bytes(self) -> int:
        """Of the body that is being read or answered. Any thread."""
        newest = self._newest
        return 0 if newest is None else newest.request.body.count

    def end_call(self, why: str) -> None:
        """Have the request that is being answered end with a refusal."""
        if self.busy and self.task is not None and not self.why:
            self.why = why
            self.task.cancel()

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
                self._deadline.within(within_s)  # for the rest

    def cut(self) -> None:
        """End it at once."""
        self.transport.abort()

    def leave(self) -> None:
        """End it when what is asked is answered."""
        if self._asked and self._newest is not None:
            self._newest.keep_alive = False
        else:
            self.transport.close()

    def turn_away(self) -> None:
        """There are too many connections: say so, and end."""
        self._refuse(_AWAY)

    # The connection.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if hasattr(transport, "max_size"):
            transport.max_size = PIECE_BYTES
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        self.address = f"ipv6:%5B{host}%5D" if ":" in host else f"ipv4:{host}"
        self.peer, self.source = f"{self.address}:{port}", source_of(self.address)
        self._names = names_in_certificate(transport.get_extra_info("peercert"))
        self._deadline.within(HEAD_S)
        self._head_is_timed = True
        self._terms.crowd.came(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._deadline.close()
        self._in_line.clear()
        if self._newest is not None:
            self._newest.request.body.breaks("")
        if self._answering is not None:
            self._answering.request.body.breaks("")
        if self.task is not None:
            self.task.cancel()
        self.resume_writing()
        self._terms.crowd.left(self)
        self._wire.close()

    @override
    def pause_writing(self) -> None:
        if self._taken is None:
            self._taken = self.loop.create_future()

    @override
    def resume_writing(self) -> None:
        if self._taken is not None:
            self._taken.set_result(None)
            self._taken = None

    @override
    def data_received(self, data: bytes) -> None:
        incoming = self.incoming
        incoming.came(len(data))
        if self._refused or self._lost:
            return
        wrong = self._wire.read(data)
        if wrong is not None:
            self._refuse(wrong)
        elif incoming.in_head:
            if not self._head_is_timed and (incoming.begun or not self._asked):
                self._time_head()
        elif self._newest is not None and not self._newest.answered and self._newest.request.body.full:
            self._read(goes_on=False)

    # What comes on it.

    @property
    @override
    def takes_more(self) -> bool:
        return len(self._in_line) < MAX_PIPELINED

    @override
    def head_came(self, head: Head) -> None:
        body = Body(declared=declared_length(head.headers), most=self._terms.max_body_bytes, wanted=self._body_wanted)
        request = Request(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            peer=self.peer,
            address=self.address,
            certificate_names=self._names,
            body=body,
        )
        waits, self._newest = self._asked, Exchange(request, head.keep_alive, head.expects_continue)
        if waits:
            self._read(goes_on=False)
            self._in_line.append(self._newest)
        else:
            self._start(self._newest)
        self._deadline.off()
        self._head_is_timed = False

    @override
    def body_came(self, piece: bytes) -> None:
        if self._newest is not None and not self._newest.answered:
            self._newest.request.body.came(piece)

    @override
    def body_ended(self) -> None:
        if self._newest is not None:
            self._newest.request.body.ends()
        if not self._asked:
            self._deadline.within(self._terms.keep_alive_s)  # it lingers no more

    # Answers.

    @property
    def _asked(self) -> bool:
        """Whether a request has no answer yet."""
        return self._newest is not None and not self._newest.answered

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        self._working += 1
        if self._working == 1:
            self._terms.crowd.works(self)
        self.task = self.loop.create_task(self._run(exchange))
        self.task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        """A task that was cancelled has a traceback, whose frames know this connection: a ring that stays, with its
        body, until the garbage collector comes.
        """
        if self.task is task:
            self.task = None
        if self._lost:
            self._newest = self._answering = None

    async def _run(self, exchange: Exchange) -> None:
        """A request that gets no answer ends its connection, whatever the reason."""
        try:
            await self._terms.answer(self, exchange.request)
        finally:
            if not exchange.answered:
                self.cut()
            self._working -= 1
            if not self._working:
                self._terms.crowd.rests(self)

    def _body_wanted(self) -> None:
        """That of the request that is being answered. If it is whole, reading goes on all the same: for what comes
        behind it, and to hear that the client has left.
        """
        exchange = self._answering
        if exchange is None:
            return
        if exchange.expects_continue and not exchange.request.body.ended and not self.transport.is_closing():
            exchange.expects_continue = False
            self.transport.write(_CONTINUE)
        self._read(goes_on=True)

    def _write(self, response: Response) -> None:
        """The answer to the oldest request that has none."""
        exchange = self._answering
        if exchange is None or exchange.answered:
            raise AssertionError("a request has one answer")
        head, body = response.head(keep_alive=exchange.keep_alive), response.body
        if exchange.request.method == "HEAD":
            body = b""
        if not self.transport.is_closing():
            if len(body) <= PIECE_BYTES:
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                self.transport.write(body)
        exchange.answered = True
        exchange.request.body.breaks("")  # whoever still reads it hears that it is over
        self._answering, self.why = None, ""
        if not self.transport.is_closing():
            self._go_on(exchange)

    def _go_on(self, answered: Exchange) -> None:
        """What comes after an answer."""
        ended = answered.request.body.ended
        if not answered.keep_alive:
            self._in_line.clear()
            if ended:
                self.transport.close()
            else:
                self._end()
        elif self._in_line:
            following = self._in_line.popleft()
            self._read(goes_on=following.request.body.ended)  # else when somebody reads its body
            self._start(following)
        elif self._last is not None:
            self._say_and_end(self._last)
        else:
            self._read(goes_on=True)
            if not ended:
                self._deadline.within(LINGER_S)
            elif self.incoming.begun:
                self._time_head()
            else:
                self._deadline.within(self._terms.keep_alive_s)

    async def _room(self, within_s: float) -> None:
        """Until little is written that is not taken. Raises TimeoutError."""
        if self._taken is not None:
            async with asyncio.timeout(within_s):
                await asyncio.shield(self._taken)

    # Ends.

    def _refuse(self, answer: Response) -> None:
        """What came is no HTTP: nothing more is read. The requests before it are answered, then it is."""
        if self._refused:
            return
        self._refused = True
        in_body = not self.incoming.in_head
        if self._asked and self._newest is not None and in_body:
            self._newest.keep_alive = False
            self._newest.request.body.breaks(self._wire.wrong_body)
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
        self._read(goes_on=True)
        self._deadline.within(LINGER_S)
        if self.transport.can_write_eof():
            with suppress(OSError):  # it has gone, which the event loop does not know yet
                self.transport.write_eof()

    # Reading and its time.

    def _read(self, *, goes_on: bool) -> None:
        if goes_on is not self._reading:
            self._reading = goes_on
            if goes_on:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def _time_head(self) -> None:
        """A head has begun, and its time with it."""
        self._head_is_timed = True
        self._deadline.within(HEAD_S)
