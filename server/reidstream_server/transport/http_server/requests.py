"""A request as handlers see it. Its body is read when a handler asks, within a bound.

Trap: a body may have no length (chunked), a wrong one, or no end. It is counted while it comes; what is too much is
never kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from reidstream_server.errors import InvalidCall, TooLarge

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]

_MAX_QUERY_FIELDS = 64


class ClientGone(Exception):
    """The client has closed its connection; nobody is left to be answered."""


class Body:
    """`declared`: its length, if the client has said. `most`: bytes that are read of it. `count`: of what has come."""

    def __init__(self, receive: Receive, *, declared: int | None, most: int) -> None:
        self._receive = receive
        self.declared = declared
        self.most = most
        self.count = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """What comes, as it comes. Raises TooLarge, ClientGone."""
        if self.declared is not None and self.declared > self.most:
            raise self._too_large(f"{self.declared} bytes")
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            piece = message["body"]
            self.count += len(piece)
            if self.count > self.most:
                raise self._too_large(f"more than {self.most} bytes")
            if piece:
                yield piece
            if not message["more_body"]:
                return

    async def whole(self) -> bytes:
        """All of it. Raises TooLarge, ClientGone."""
        return b"".join([piece async for piece in self.pieces()])

    def _too_large(self, what: str) -> TooLarge:
        return TooLarge(f"the body has {what}; the limit is {self.most} (max_message_bytes); send less at a time")


@dataclass(frozen=True)
class Request:
    """`path`: decoded. `headers`: names in lower case. `peer`: the other end of its connection, as gRPC writes it.
    `address`: the same without the port. `certificate_names`: as `identity` takes them.
    """

    method: str
    path: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    peer: str
    address: str
    certificate_names: Sequence[bytes]
    body: Body

    def header(self, name: str) -> str:
        """The last value of a header, by its name in lower case; "" if it did not come."""
        key, found = name.encode(), b""
        for given, value in self.headers:
            if given == key:
                found = value
        return found.decode("latin-1")

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        key = name.encode()
        return [value.decode("latin-1") for given, value in self.headers if given == key]

    @property
    def content_type(self) -> tuple[str, str]:
        """The body's type in lower case, and its parameters as they came."""
        kind, _, parameters = self.header("content-type").partition(";")
        return kind.strip().lower(), parameters.strip()

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """Of the query, the last of each name. Raises InvalidCall."""
        try:
            pairs = parse_qsl(self.query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
            return dict(pairs)
        except ValueError:
            raise InvalidCall(
                f"the query of the URL cannot be read: it must be ASCII, with at most {_MAX_QUERY_FIELDS} fields"
            ) from None


def declared_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Of a body. The parser has refused what is no number, and two that differ."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def names_in_certificate(certificate: Mapping[str, Any] | None) -> Sequence[bytes]:
    """As gRPC tells them: the subject's alternative names, then its common names. `certificate`: as `ssl` tells it."""
    if not certificate:
        return ()
    names = [value for _, value in certificate.get("subjectAltName", ())]
    subject = [pair for group in certificate.get("subject", ()) for pair in group]
    names += [value for key, value in subject if key == "commonName"]
    return [name.encode() for name in names]
