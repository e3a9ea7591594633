"""What a port speaks: gRPC without TLS, TLS, HTTP, or nothing at all.

The first bytes of HTTP/2 are sent, as gRPC sends them. A server of gRPC answers with its settings. One that wants TLS
closes, since these bytes are no handshake; so then a handshake is tried. Trap: gRPC waits for ever where somebody takes
a connection and says nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from reidstream_client.cli.doctor.seen import Port, Speaks
from reidstream_client.cli.top.writing import name as printable
from reidstream_client.connection.within import within

from .network import Line, connected
from .web import Url, WebFailed, get

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""HTTP/2's magic words and a frame of settings, all at their defaults."""

_FRAME_HEAD: Final = 9
_SETTINGS: Final = 4
_FIRST_BYTES: Final = 1024
_ALERT: Final = 0x15
_SHOWN: Final = 60


async def what_speaks(address: str, port: int, timeout_s: float) -> Port:
    """Say hello, and look at the answer."""
    try:
        async with connected(address, port, timeout_s) as line:
            first = await first_bytes(line, timeout_s)
    except asyncio.TimeoutError:
        return Port(speaks=Speaks.SILENT)
    except OSError:
        first = b""
    if is_http2(first):
        return Port(speaks=Speaks.GRPC)
    if first.startswith(b"HTTP/"):
        return Port(speaks=await _whose_http(address, port, timeout_s), first=_shown(first))
    if first[:1] in {b"", bytes([_ALERT])} and await _speaks_tls(address, port, timeout_s):
        return Port(speaks=Speaks.TLS)
    if first:
        return Port(speaks=Speaks.OTHER, first=_shown(first))
    http = await _whose_http(address, port, timeout_s, otherwise=Speaks.CLOSED)
    return Port(speaks=http)


async def first_bytes(line: Line, timeout_s: float) -> bytes:
    """What comes in answer to the preface; empty if the connection is closed. Raises OSError, asyncio.TimeoutError."""
    line.writer.write(PREFACE)
    first = b""
    while len(first) < _FRAME_HEAD:
        more = await within(timeout_s, line.reader.read(_FIRST_BYTES))
        if not more:
            break
        first += more
    return first


def is_http2(first: bytes) -> bool:
    """Whether it begins with a frame of settings, on no stream."""
    return len(first) >= _FRAME_HEAD and first[3] == _SETTINGS and first[5:_FRAME_HEAD] == bytes(4)


async def _speaks_tls(address: str, port: int, timeout_s: float) -> bool:
    """Whether a handshake is answered, whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with connected(address, port, timeout_s, context):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it refuses this handshake in TLS's own words
    except (OSError, asyncio.TimeoutError):
        return False


async def _whose_http(address: str, port: int, timeout_s: float, otherwise: Speaks = Speaks.HTTP) -> Speaks:
    """Reidstream's own port of metrics, or another's."""
    try:
        page = await get(Url(host=address, port=port, path="/metrics"), timeout_s)
    except WebFailed:
        return otherwise
    return Speaks.OPERATORS if b"reidstream_" in page.body or b"models are loading" in page.body else Speaks.HTTP


def _shown(first: bytes) -> str:
    return printable(first[:_SHOWN].decode("latin-1").splitlines()[0])
