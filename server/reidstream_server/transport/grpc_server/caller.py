"""What a gRPC call shows of its caller, in the words of `identity`.

Trap: headers of one name may come several times, and as bytes; `identity` decides what that means.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import unquote

from reidstream_server.identity.access import Presented

Headers: TypeAlias = "Iterable[tuple[str, str | bytes]] | None"

_NAMES_IN_CERTIFICATES = ("x509_subject_alternative_name", "x509_common_name")


class Caller(Protocol):
    """What a gRPC context tells of a call before anything is read."""

    def invocation_metadata(self) -> Headers:
        """Its headers."""
        ...

    def peer(self) -> str:
        """Its connection's other end, as gRPC writes it."""
        ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What its connection proved."""
        ...


def presented_by(caller: Caller) -> Presented:
    """What a call shows of its caller."""
    proved = caller.auth_context()
    return Presented(
        authorization=authorization_of(caller.invocation_metadata()),
        certificate_names=[name for kind in _NAMES_IN_CERTIFICATES for name in proved.get(kind, ())],
        connection=caller.peer(),
    )


def authorization_of(headers: Headers) -> Sequence[str | bytes]:
    """The values of all headers `authorization`."""
    return [value for name, value in headers or () if name == "authorization"]


def header(headers: Headers, name: str) -> str:
    """Its value; "" where there is none, or no text."""
    for key, value in headers or ():
        if key == name and isinstance(value, str):
            return value
    return ""


def on_this_machine(peer: str) -> bool:
    """Whether gRPC's name of a peer is a loopback address or a Unix socket. If in doubt, it is neither."""
    kind, _, rest = peer.partition(":")
    if kind in ("unix", "unix-abstract"):
        return True
    if kind not in ("ipv4", "ipv6"):
        return False
    host = unquote(rest).rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
