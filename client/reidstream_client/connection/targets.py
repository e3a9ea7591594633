"""Where a server is: a target as gRPC writes it, and common mistakes in it.

Trap: gRPC accepts almost any text and then fails to connect, with words about something else. It takes a scheme for a
host name, and a missing port for 443. TLS on one side alone shows as a closed socket, or as a refusal by another of the
host's addresses.
"""

from __future__ import annotations

import ipaddress
import re

from reidstream_client.errors import InvalidRequest
from reidstream_client.redaction import without_secrets

_FOREIGN_SCHEME = re.compile(r"(https?|grpcs?|tcp|tls)://", re.IGNORECASE)
_NO_PORTS = ("unix:", "unix-abstract:", "vsock:", "xds:")
_DEFAULT_PORT = 50051


def check_target(target: str) -> None:
    """Raises InvalidRequest for text that cannot be a target."""
    if not target:
        raise InvalidRequest("the server's address is empty; it must be HOST:PORT")
    if "@" in target and not target.startswith(_NO_PORTS):
        raise InvalidRequest(
            f"{without_secrets(target)}: the server's address must be HOST:PORT, without a user and password; a client "
            "proves who it is by token= or tls= (of a command, --token-file or --tls-cert)"
        )
    if scheme := _FOREIGN_SCHEME.match(target):
        raise InvalidRequest(
            f"{target}: the server's address must be HOST:PORT, without {scheme[0]}; for TLS give tls=TlsOptions() "
            "(of a command, --tls-ca)"
        )


def hint(target: str, *, tls: bool) -> str:
    """What to check if there is no connection to a target."""
    question = f"is a reidstream-server running and ready there, {'with' if tls else 'without'} TLS?"
    if _lacks_port(target):
        question += f" No port was given, which means 443; reidstream-server's default is {_DEFAULT_PORT}."
    return question


def is_loopback(target: str) -> bool:
    """Whether a target is certainly this machine. A name other than localhost is not."""
    host = target.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _lacks_port(target: str) -> bool:
    if target.startswith(_NO_PORTS) or "," in target:
        return False
    name = re.sub(r"^(dns|ipv4|ipv6):(//[^/]*/)?", "", target)
    host, _, port = name.rpartition(":")
    return not host or not port.isdecimal() or (":" in host and not host.startswith("["))
