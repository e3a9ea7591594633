"""Which user of this machine is at the other end of a connection, by the kernel's own table of sockets.

Why: a name in /dev/shm is no secret. Whoever names one must be the user whose file it is, and a call over TCP says
nothing of users. The kernel knows who made each socket, so it is asked for the caller's end of the connection.

Traps: a socket that its program has closed belongs to nobody, which older kernels tell as user 0. So only an
established connection counts. And a proxy on this machine is a user of it, whoever is behind it.

What is asked: sock_diag(7), a lookup of one socket by both its ends, which takes some microseconds.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ESTABLISHED = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBBI")  # inet_diag_req_v2: family, protocol, extensions, padding, states
_PORTS = struct.Struct("!HH")
_ANY_SOCKET = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # interface, cookie
_ADDRESS_BYTES = 16
_SOCKET_BYTES = _PORTS.size + 2 * _ADDRESS_BYTES + len(_ANY_SOCKET)
_ANSWER = struct.Struct(f"=BBBB{_SOCKET_BYTES}xIIIII")  # inet_diag_msg: family, state, ... queues, user, inode
_ANSWER_BYTES = 8192

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection."""

    address: Address
    port: int


def end_of(peer: str) -> End | None:
    """Of gRPC's name of a peer, such as "ipv4:127.0.0.1:4000"; None for what is no IP address and port."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if kind not in ("ipv4", "ipv6") or not (port.isascii() and port.isdigit()):
        return None
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return End(mapped or address, int(port))


class LocalUsers:
    """Of the connections to one of our ports. `port`: its number. Event loop only."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port

    def user_of(self, peer: str) -> int | None:
        """The id of the user who made the connection whose other end gRPC calls `peer`. None where the kernel does not
        tell: the peer is on another machine, or it did not connect to the address that it has itself, or is gone.
        """
        end = end_of(peer)
        if end is None or not end.address.is_loopback:
            return None
        try:
            return _owner(end, End(end.address, self._port()))
        except OSError:
            return None


def _owner(near: End, far: End) -> int | None:
    """Of the socket that is established from `near` to `far`. Raises OSError."""
    family = socket.AF_INET if near.address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED)
    question += _PORTS.pack(near.port, far.port) + _packed(near) + _packed(far) + _ANY_SOCKET
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
        kernel.setblocking(False)  # the answer is there when the question was taken
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
        answer = kernel.recv(_ANSWER_BYTES)
    if len(answer) < _HEADER.size + _ANSWER.size or _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    _, state, _, _, *_, user, _ = _ANSWER.unpack_from(answer, _HEADER.size)
    return int(user) if state == _ESTABLISHED else None


def _packed(end: End) -> bytes:
    return end.address.packed.ljust(_ADDRESS_BYTES, b"\0")
