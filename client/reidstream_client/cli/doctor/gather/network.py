"""The way to the server's port, below gRPC: addresses, connections, bytes.

Why by hand: gRPC says "failed to connect" for all of it. Traps: the system's resolver cannot be interrupted, so it runs
in a thread that nobody waits for at the end. And a connection that is not closed at once by us would wait for its peer.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from reidstream_client.cli.doctor.seen import Attempt, Names, Reach
from reidstream_client.connection.within import within

_MOST_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def resolve(host: str, port: int, timeout_s: float) -> Names:
    """Ask the system, as gRPC does."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def tell(addresses: tuple[str, ...], error: Exception | None) -> None:
        if not found.done():
            found.set_result(addresses) if error is None else found.set_exception(error)

    def ask() -> None:
        addresses: tuple[str, ...] = ()
        failed: Exception | None = None
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, UnicodeError) as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(tell, addresses, failed)

    threading.Thread(target=ask, name="reidstream-doctor-names", daemon=True).start()
    try:
        return Names(host=host, addresses=await within(timeout_s, found))
    except asyncio.TimeoutError:
        return Names(host=host, error=f"the resolver has not answered within {timeout_s:g} s")
    except OSError as error:
        return Names(host=host, error=error.strerror or str(error))
    except UnicodeError as error:
        return Names(host=host, error=f"it is no host name: {error}")


async def reach(names: Names, port: int, timeout_s: float) -> tuple[Attempt, ...]:
    """Connect to each address, all at once."""
    addresses = names.addresses[:_MOST_ADDRESSES]
    return tuple(await asyncio.gather(*(_attempt(address, port, timeout_s) for address in addresses)))


async def _attempt(address: str, port: int, timeout_s: float) -> Attempt:
    try:
        async with connected(address, port, timeout_s):
            return Attempt(address=address, port=port, reach=Reach.OPEN)
    except asyncio.TimeoutError:
        return Attempt(address=address, port=port, reach=Reach.TIMED_OUT)
    except OSError as error:
        how = {errno.ECONNREFUSED: Reach.REFUSED, errno.ETIMEDOUT: Reach.TIMED_OUT}
        said = how.get(error.errno or 0, Reach.UNREACHABLE)
        return Attempt(address=address, port=port, reach=said, error=reason_of(error))


def reason_of(error: OSError) -> str:
    """The system's words; asyncio's own have the address in them, which stands elsewhere."""
    return os.strerror(error.errno) if error.errno else error.strerror or str(error)


@asynccontextmanager
async def connected(
    address: str, port: int, timeout_s: float, tls: ssl.SSLContext | None = None, name: str | None = None
) -> AsyncIterator[Line]:
    """Connect, with a TLS handshake if asked for. Raises OSError (also of TLS), or asyncio.TimeoutError."""
    opening = asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
    reader, writer = await within(timeout_s, opening)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


def host_in_url(host: str) -> str:
    """With brackets, if it is an address of IPv6."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    except ValueError:
        return host
