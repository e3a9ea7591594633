"""One page by HTTP, within a time and a size.

Why not `urllib`: it goes through the proxies of the environment, and its time-out is that of each byte, so a server
that sends one byte a second is waited for without end.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reidstream_client.cli.doctor.seen import Reach
from reidstream_client.connection.within import within
from reidstream_client.errors import InvalidRequest

from .network import connected, host_in_url, reach, reason_of, resolve

_MOST_BYTES: Final = 16 << 20
_PORTS: Final = {"http": 80, "https": 443}


class WebFailed(Exception):
    """There is no page. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """Where a page is."""

    host: str
    port: int
    path: str
    secure: bool = False

    def at(self, path: str) -> Url:
        """Another page of the same port."""
        return Url(host=self.host, port=self.port, path=path, secure=self.secure)

    def __str__(self) -> str:
        return f"http{'s' if self.secure else ''}://{host_in_url(self.host)}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer."""

    status: int
    body: bytes


def parse_url(text: str) -> Url:
    """Raises InvalidRequest for what is no address of a page."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"{text}: {error}; --metrics takes http://HOST:PORT/metrics") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise InvalidRequest(f"{text} is no address of metrics; --metrics takes http://HOST:PORT/metrics")
    path = parts.path if parts.path not in {"", "/"} else "/metrics"
    path += f"?{parts.query}" if parts.query else ""
    return Url(host=parts.hostname, port=port or _PORTS[parts.scheme], path=path, secure=parts.scheme == "https")


async def get(url: Url, timeout_s: float) -> Page:
    """Raises WebFailed. All of it takes `timeout_s` at most."""
    try:
        return await within(timeout_s, _get(url, timeout_s))
    except asyncio.TimeoutError:
        raise WebFailed(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise WebFailed(reason_of(error)) from None


async def _get(url: Url, timeout_s: float) -> Page:
    tls = ssl.create_default_context() if url.secure else None
    name = url.host if url.secure else None
    asked = f"GET {url.path} HTTP/1.0\r\nHost: {host_in_url(url.host)}:{url.port}\r\nAccept: text/plain\r\n\r\n"
    async with connected(await _address(url, timeout_s), url.port, timeout_s, tls, name) as line:
        line.writer.write(asked.encode("latin-1", "replace"))
        data = bytearray()
        while len(data) < _MOST_BYTES and (more := await line.reader.read(1 << 16)):
            data += more
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 - version, status
        raise WebFailed("what answers there is no HTTP server")
    return Page(status=int(words[1]), body=body)


async def _address(url: Url, timeout_s: float) -> str:
    """The first one of the host that takes connections. Raises WebFailed."""
    names = await resolve(url.host, url.port, timeout_s)
    attempts = await reach(names, url.port, timeout_s)
    for attempt in attempts:
        if attempt.reach is Reach.OPEN:
            return attempt.address
    why = next((attempt.error or attempt.reach.value for attempt in attempts), names.error)
    raise WebFailed(why)
