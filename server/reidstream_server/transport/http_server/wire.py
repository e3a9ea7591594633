"""What comes on a connection, read by httptools: heads within bounds, pieces of bodies, and what is no HTTP.

Traps: the parser takes heads and trailers of any size, and any number of requests that come before their answers. Of a
request that asks for an upgrade it takes the body for another protocol. And what is raised in one of its callbacks
makes the request a bad one, so why is remembered beside it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .incoming import CHUNK_BYTES, MANY_CHUNKS, MAX_HEAD_BYTES, Incoming
from .requests import Head, split_target
from .responses import Response, refusal

MAX_PIPELINED = 8
"""Requests that may wait behind one that is answered."""

_SEPARATORS = len(": \r\n")
_OF_AN_UPGRADE = (b"connection", b"upgrade", b"http2-settings")

_BAD_BODY = "the body is not what HTTP/1.1 calls one: a chunk has a wrong length, or trailers have no end"
_SMALL_CHUNKS = f"the body comes in more than {MANY_CHUNKS} chunks of less than {CHUNK_BYTES} bytes; send larger ones"
_BAD = refusal(400, "the request is not HTTP/1.1 that can be understood")
_TOO_LONG = refusal(431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes")
_TOO_MANY = refusal(400, f"more than {MAX_PIPELINED} requests came before their answers; wait for answers")


class Hears(Protocol):
    """Who is told what comes, in its order."""

    __slots__ = ()

    @property
    @abstractmethod
    def takes_more(self) -> bool:
        """Whether another request may come now."""
        ...

    @abstractmethod
    def head_came(self, head: Head) -> None:
        """A request; its body follows."""
        ...

    @abstractmethod
    def body_came(self, piece: bytes) -> None:
        """A chunk of its body, or as much of it as a piece had."""
        ...

    @abstractmethod
    def body_ended(self) -> None:
        """All of it has come."""
        ...


class Wire:
    """`incoming`: the count of what comes. `wrong_body`: what is wrong with the body that is no HTTP."""

    def __init__(self, hears: Hears) -> None:
        self._hears = hears
        self.incoming = Incoming()
        self.wrong_body = _BAD_BODY
        self._wrong = _BAD
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects_continue = False
        self._parser = _parser_for(self)

    def read(self, data: bytes) -> Response | None:
        """Tell what is in it. Returns what to answer if it is no HTTP; then nothing more must be read."""
        incoming = self.incoming
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except HttpParserError:
            return self._wrong
        if incoming.head_too_long:
            return _TOO_LONG
        return _BAD if incoming.trailers_too_long else None

    def close(self) -> None:
        """Nothing comes any more."""
        del self._parser, self._hears  # they know each other

    # What the parser tells.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._target, self._headers, self._expects_continue = b"", [], False
        self.incoming.head_begins()

    def on_url(self, part: bytes) -> None:
        """A part of its target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is dropped."""
        if self.incoming.in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self._expects_continue = True
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A request that can be answered, if its head is right."""
        size = len(self._target) + sum([len(name) + len(value) + _SEPARATORS for name, value in self._headers])
        if size > MAX_HEAD_BYTES:
            self._wrong = _TOO_LONG
            raise ValueError
        if not self._hears.takes_more:
            self._wrong = _TOO_MANY
            raise ValueError
        parser = self._parser
        method: str = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise ValueError
            return  # see `_without_upgrade`
        path, query = split_target(self._target)
        goes_on = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        self._hears.head_came(Head(method, path, query, self._headers, goes_on, self._expects_continue))
        self.incoming.head_ends()

    def on_body(self, body: bytes) -> None:
        """A chunk of a body, or as much of it as a piece had."""
        self.incoming.body(len(body))
        if self.incoming.chunks_too_small:
            self.wrong_body = _SMALL_CHUNKS
            raise ValueError
        self._hears.body_came(body)

    def on_message_complete(self) -> None:
        """All of a request."""
        if not self._parser.should_upgrade():
            self.incoming.message_ends()
            self._hears.body_ended()

    def _without_upgrade(self, rest: bytes) -> Response | None:
        """Take the request as if it had not asked to speak something else, as Java's client does by itself."""
        method = self._parser.get_method()
        self._parser = _parser_for(self)
        kept = [(name, value) for name, value in self._headers if name not in _OF_AN_UPGRADE]
        closing = any(name == b"connection" and b"close" in value.lower() for name, value in self._headers)
        kept += [(b"connection", b"close")] if closing else []
        lines = b"".join([b"%b: %b\r\n" % header for header in kept])
        return self.read(b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, self._target, lines, rest))


def _parser_for(wire: Wire) -> HttpRequestParser:
    parser = HttpRequestParser(wire)
    # A request that ends its connection is answered, whatever its client sends after it.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
