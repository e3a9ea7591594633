"""What the kernel knows of this process's connections: how many bytes each has received, and who is at its other end.

Why the kernel: gRPC tells nobody what it holds of messages that have not come whole. The sockets are gRPC's own; they
are found among the process's descriptors. Only looked up when something must be decided. Any thread.

Trap: a descriptor may be closed, and its number used again, at any time. So each is duplicated first, and asked then.
"""

from __future__ import annotations

import os
import socket
import struct
import urllib.parse
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

_DESCRIPTORS = "/proc/self/fd"
_TCP_INFO_BYTES = 256
_RECEIVED = struct.Struct("=Q")
_RECEIVED_AT = 128  # tcpi_bytes_received in linux/tcp.h, since Linux 4.1


def received_bytes(port: int) -> Mapping[str, int]:
    """What each connection to this port of ours has received, by its other end as gRPC writes it. Empty where the
    kernel does not say.
    """
    found = {}
    for connection in _connections(port):
        with connection, suppress(OSError):
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            if len(info) >= _RECEIVED_AT + _RECEIVED.size:
                found[_peer(connection)] = _RECEIVED.unpack_from(info, _RECEIVED_AT)[0]
    return found


def connected_to(port: int) -> AbstractSet[str] | None:
    """The other ends of all connections to this port, as gRPC writes them. None where the kernel does not say."""
    if not Path(_DESCRIPTORS).is_dir():
        return None
    found = set()
    for connection in _connections(port):
        with connection, suppress(OSError):
            found.add(_peer(connection))
    return found


def cut(port: int, peer: str) -> bool:
    """End a connection to this port, whatever is open on it. False if it is not there."""
    done = False
    for connection in _connections(port):
        with connection, suppress(OSError):
            if _peer(connection) == peer:
                connection.shutdown(socket.SHUT_RDWR)
                done = True
    return done


def _connections(port: int) -> Iterator[socket.socket]:
    """Duplicates of the sockets of all connections to this port, to be closed by the caller."""
    try:
        numbers = [int(name) for name in os.listdir(_DESCRIPTORS)]  # noqa: PTH208 - names alone, and quickly
    except OSError:
        return
    for number in numbers:
        connection = _duplicate(number)
        if connection is None:
            continue
        if _is_connection(connection, port):
            yield connection
        else:
            connection.close()


def _duplicate(number: int) -> socket.socket | None:
    """A socket of our own for the same connection; None if the descriptor is none, or is closed by now."""
    try:
        if not os.readlink(f"{_DESCRIPTORS}/{number}").startswith("socket:"):  # noqa: PTH115 - one of a thousand
            return None
        duplicate = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return None


def _is_connection(connection: socket.socket, port: int) -> bool:
    try:
        return (
            connection.family in (socket.AF_INET, socket.AF_INET6)
            and connection.type == socket.SOCK_STREAM
            and connection.getsockname()[1] == port
            and bool(connection.getpeername())
        )
    except OSError:  # it listens, or is gone
        return False


def _peer(connection: socket.socket) -> str:
    """As gRPC writes it: an IPv4 address that came in through IPv6 is IPv4."""
    host, port = connection.getpeername()[:2]
    host = host.removeprefix("::ffff:")
    if ":" in host:
        return "ipv6:" + urllib.parse.quote(f"[{host}]:{port}", safe=":")
    return f"ipv4:{host}:{port}"
