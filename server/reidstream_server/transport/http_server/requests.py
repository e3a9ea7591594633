"""A request as handlers see it, and what its connection keeps beside it. Its body is read when a handler asks.

Trap: a target is what the client likes: a path, a whole URL, or neither. The parser of URLs says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from httptools import parse_url

from reidstream_server.errors import InvalidCall

from .body import Body

_MAX_QUERY_FIELDS = 64


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


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body. `keep_alive`: its connection goes on after it. `expects_continue`: the
    client sends the body when it is told to.
    """

    method: str
    path: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its answer. `keep_alive`, `expects_continue`: as its head says. `answered`: the answer is
    written.
    """

    request: Request
    keep_alive: bool
    expects_continue: bool
    answered: bool = False


def split_target(target: bytes) -> tuple[str, bytes]:
    """The path, decoded, and the query. Raises HttpParserInvalidURLError, UnicodeDecodeError."""
    found = parse_url(target)
    path: str = (found.path or b"").decode("ascii")
    return unquote(path) if "%" in path else path, found.query or b""


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
