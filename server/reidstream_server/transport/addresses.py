"""Ports to listen on: how their addresses are written, and why one cannot be taken.

Why looked at before anything listens: a port that is in use should be found out before models take their time, and gRPC
says of it only that it cannot. Trap: between the look and the listening another program may take the port; whoever
listens looks again when that fails.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from reidstream_server.errors import StartupError


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """What a port is for, and the flags that choose another one. `without`: how to do without the port."""

    purpose: str
    host_flag: str
    port_flag: str
    without: str = ""


_TURNS = 4
"""Of the event loop, from the moment when a connection is taken until its task has begun."""

GRPC = Port(purpose="", host_flag="--host", port_flag="--port")
HTTP = Port(
    purpose=" for HTTP",
    host_flag="--http-host",
    port_flag="--http-port",
    without=", or none: leave --http-port out",
)
OPERATORS = Port(
    purpose=" for metrics and probes",
    host_flag="--metrics-host",
    port_flag="--metrics-port",
    without=", or none: --no-metrics-enabled",
)


def address_of(host: str, port: int) -> str:
    """As gRPC clients write it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_port(host: str, number: int, port: Port) -> None:
    """Take a port and let it go again; of port 0 that looks at the host alone. Raises StartupError.

    A name may have addresses that this machine lacks, such as IPv6's, beside one that it has.
    """
    free, failed = 0, None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, number, type=socket.SOCK_STREAM):
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
                    probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise
                failed = error
            else:
                free += 1
        if failed is not None and not free:
            raise failed
    except OSError as error:
        raise refused(host, number, port, error) from error


def refused(host: str, number: int, port: Port, error: OSError) -> StartupError:
    """The error for a port that the system does not give us, with what to do."""
    why, then = error.strerror or str(error), f"choose another {port.host_flag} or {port.port_flag}"
    match error.errno:
        case errno.EADDRINUSE:
            why = "the port is in use, perhaps by another reidstream-server"
            then = f"stop that, or choose another {port.port_flag}; 0 takes any free one"
        case errno.EADDRNOTAVAIL | socket.EAI_NONAME:
            why = "this machine has no such address"
            then = f"choose another {port.host_flag}; 0.0.0.0 is every interface"
        case errno.EACCES:
            why = "this user may not take a port with so low a number"
            then = f"choose another {port.port_flag}, from 1024 on"
    return StartupError(f"cannot listen on {address_of(host, number)}{port.purpose}: {why}; {then}{port.without}")


def listening(host: str, number: int, port: Port, backlog: int, *, buffer_bytes: int = 0) -> socket.socket:
    """A socket that listens, for doors that take one. `buffer_bytes`: what the kernel keeps of each connection; 0: as
    much as it likes. Raises StartupError.
    """
    try:
        # The event loop sends at once (TCP_NODELAY) only on sockets that name their protocol; else answers wait 40 ms.
        family, _, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            found = undo.enter_context(socket.socket(family, socket.SOCK_STREAM, protocol))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if buffer_bytes:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            found.bind(address)
            found.listen(backlog)
            undo.pop_all()
            return found
    except OSError as error:
        raise refused(host, number, port, error) from error


async def stop_listening(server: asyncio.Server, taken: socket.socket) -> None:
    """Close what asyncio serves on the socket `taken`.

    Why not `close` alone: a connection that asyncio has taken, and whose transport it makes a turn later, is then
    dropped without being closed. And a task that is cancelled before it begins closes nothing. So they begin first.
    """
    asyncio.get_running_loop().remove_reader(taken)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    server.close()
