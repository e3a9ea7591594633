"""From what a call shows to the caller's identity.

An identity is the name of the caller's token, else the name in its certificate, else "". It is a part of the flow, so
cameras of two clients never share one. It is logged, and it is never a label of a metric.

Who is held responsible for what a call costs is its *source*: its client, or, where nothing tells clients apart, its
connection. Bounds of one client, and penalties, are those of its source.

Trap: a guard in front of a door sees headers only; `client_of` looks at certificates later. That is enough, because TLS
itself refuses clients without a certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reidstream_server.errors import Unauthenticated

from .tokens import TokenFile

_BEARER = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What a call shows of its caller.

    `authorization`: the values of all its headers of that name. `certificate_names`: the names in the certificate that
    its connection has proved, the best first. `connection`: a name for it that no other open connection has.
    """

    authorization: Sequence[str | bytes] = ()
    certificate_names: Sequence[bytes] = ()
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `client`: its identity. `source`: who is held responsible."""

    client: str
    source: str


def source_of(connection: str) -> str:
    """Who is held responsible for a connection of which nothing tells the client."""
    return f"connection {connection}"


class Access:
    """Tells who calls, and refuses strangers. `certificates`: every client has shown one. Event loop only."""

    def __init__(self, *, tokens: TokenFile | None = None, certificates: bool = False) -> None:
        self._tokens = tokens
        self._certificates = certificates

    def admit(self, authorization: Sequence[str | bytes]) -> None:
        """Refuse a stranger by its headers alone. Raises Unauthenticated; without tokens nobody is a stranger."""
        if self._tokens is not None:
            _by_token(self._tokens, authorization)

    def caller_of(self, presented: Presented) -> Caller:
        """The caller's identity and its source. Raises Unauthenticated."""
        client = self.client_of(presented)
        return Caller(client=client, source=f"client {client}" if client else source_of(presented.connection))

    def client_of(self, presented: Presented) -> str:
        """The caller's identity; "" where nothing tells it. Raises Unauthenticated."""
        if self._tokens is not None:
            return _by_token(self._tokens, presented.authorization)
        if not self._certificates or not presented.certificate_names:
            return ""
        return presented.certificate_names[0].decode(errors="backslashreplace")


def _by_token(tokens: TokenFile, given: Sequence[str | bytes]) -> str:
    scheme, _, token = given[0].partition(" ") if len(given) == 1 and isinstance(given[0], str) else ("", "", "")
    if scheme.lower() != _BEARER:
        raise Unauthenticated("this server needs a token: send one header 'authorization: Bearer TOKEN'")
    client = tokens.client_of(token.strip())
    if client is None:
        raise Unauthenticated("this server does not know the token")
    return client
