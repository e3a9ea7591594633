"""Where a server is: a target as gRPC writes it, and common mistakes in it.

Trap: gRPC accepts almost any text and then fails to connect, with words about something else. It takes a scheme for a
host name, a missing port for 443, and 99999 for 34463. TLS on one side alone shows as a closed socket, or as a refusal
by another of the host's addresses. A proxy that the environment names shows as a refusal by the proxy's address.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping

from reidstream_client.errors import InvalidRequest
from reidstream_client.redaction import without_secrets

_FOREIGN_SCHEME = re.compile(r"(https?|grpcs?|tcp|tls)://", re.IGNORECASE)
_NO_PORTS = ("unix:", "unix-abstract:", "vsock:", "xds:")
_DEFAULT_PORT = 50051
_LAST_PORT = 65_535
_PORT_OF_HTTPS = 443  # gRPC's own default
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # those that gRPC reads, in its order
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")


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
    port = _port(target)
    if port is not None and not 1 <= port <= _LAST_PORT:
        raise InvalidRequest(f"{target}: {port} is no port; a port is 1 to {_LAST_PORT}, of reidstream {_DEFAULT_PORT}")


def hint(target: str, *, tls: bool) -> str:
    """What to check if there is no connection to a target."""
    question = f"is a reidstream-server running and ready there, {'with' if tls else 'without'} TLS?"
    if _lacks_port(target):
        question += f" No port was given, which means 443; reidstream-server's default is {_DEFAULT_PORT}."
    proxy = proxy_of(target, os.environ)
    if proxy is not None:
        question += (
            f" The environment names a proxy ({proxy}), and the connection goes through it; to go without, add the "
        )
        question += "server's host to no_proxy."
    return question


def proxy_of(target: str, environ: Mapping[str, str]) -> str | None:
    """The variable that names the proxy through which gRPC connects to a target; None: it connects by itself.

    The variable's value is not for messages: it may hold a password.
    """
    if is_loopback(target) or target.startswith(_NO_PORTS):
        return None
    exceptions = next((environ[name] for name in _NO_PROXIES if environ.get(name)), "")
    if any(_excepts(entry.strip(), _host(target)) for entry in exceptions.split(",")):
        return None
    return next((name for name in _PROXIES if environ.get(name)), None)


def host_and_port(target: str) -> tuple[str, int] | None:
    """Where a target's connection goes; None for what gRPC alone can resolve: a socket's file, or several addresses."""
    if target.startswith(_NO_PORTS) or "," in target:
        return None
    port = _port(target)
    return _host(target), _PORT_OF_HTTPS if port is None else port


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
    return _port(target) is None


def _port(target: str) -> int | None:
    """The port of a target with one; None for other targets."""
    if target.startswith(_NO_PORTS) or "," in target:
        return None
    host, _, port = _address(target).rpartition(":")
    one = host and port.isdecimal() and (":" not in host or host.startswith("["))
    return int(port) if one else None


def _address(target: str) -> str:
    """A target without what gRPC may have before it."""
    return re.sub(r"^(dns|ipv4|ipv6):(//[^/]*/)?", "", target)


def _host(target: str) -> str:
    address = _address(target)
    return (address if _port(target) is None else address.rpartition(":")[0]).strip("[]")


def _excepts(entry: str, host: str) -> bool:
    """Whether an entry of no_proxy is about a host, as gRPC reads it: the end of a name, or a range of addresses."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return bool(entry) and host.lower().endswith(entry.lower())
