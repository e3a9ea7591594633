"""All looks in their order, from the name of the host to a frame's vectors; each has a time of its own.

What cannot work any more is not tried: where nobody answers TCP there is no TLS to look at. Trap: with a proxy, gRPC
takes another way than our own connections, so its calls are made whatever those have found.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass

from reidstream_client.aio import AsyncReidClient
from reidstream_client.cli.doctor.seen import (
    Asked,
    Attempt,
    Calls,
    Frames,
    Handshake,
    Names,
    Operators,
    Port,
    Reach,
    Seen,
    Speaks,
    Trust,
)
from reidstream_client.connection.protocols import Connection, Health
from reidstream_client.connection.targets import host_and_port
from reidstream_client.errors import ReidError
from reidstream_client.models import ModelInfo

from .calls import ask
from .frames import try_frames
from .network import reach, resolve
from .operators import DEFAULT_PORT, first_look, second_look
from .port import what_speaks
from .progress import Progress
from .tls import Place, handshake
from .web import Url, parse_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What looks are made with. `trust`: this client's, for Python; None without TLS. `name`: in the certificate."""

    client: AsyncReidClient
    connection: Connection
    trust: ssl.SSLContext | None
    name: str | None
    interval_s: float
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What was found below gRPC."""

    names: Names | None = None
    attempts: tuple[Attempt, ...] | None = None
    port: Port | None = None
    handshake: Handshake | None = None

    @property
    def is_open(self) -> bool:
        """Whether gRPC can work, as far as was seen; without a look it may."""
        if self.names is None:
            return True
        if self.handshake is not None:
            return self.handshake.trust is Trust.TRUSTED
        return self.port is not None and self.port.speaks is Speaks.GRPC


async def gather(asked: Asked, means: Means) -> Seen:
    """Raises InvalidRequest for an address of metrics that is none."""
    way = await _look_below(asked, means)
    url = _metrics_url(asked, way)
    operators: Operators | None = None
    if url is not None:
        means.progress.at("the metrics")
        operators = await first_look(url, asked.timeout_s)
    calls: Calls | None = None
    frames: Frames | None = None
    if way.is_open or asked.proxy is not None:
        means.progress.at("the server's methods")
        calls = await ask(means.client, means.connection, asked.model, asked.timeout_s)
        if calls.health is Health.SERVING or isinstance(calls.health, ReidError):
            frames = await _try_frames(asked, means, calls)
    if operators is not None and url is not None and operators.looks:
        means.progress.at("the metrics again")
        operators = await second_look(operators, url, asked.timeout_s, means.interval_s)
    return Seen(
        asked=asked,
        now_unix_s=time.time(),
        names=way.names,
        attempts=way.attempts,
        port=way.port,
        handshake=way.handshake,
        calls=calls,
        frames=frames,
        operators=operators,
    )


async def _look_below(asked: Asked, means: Means) -> _Way:
    where = host_and_port(asked.target)
    if where is None:
        return _Way()
    host, number = where
    means.progress.at(f"the name {host}")
    names = await resolve(host, number, asked.timeout_s)
    if not names.addresses:
        return _Way(names=names)
    means.progress.at(f"port {number} of {host}")
    attempts = await reach(names, number, asked.timeout_s)
    first = next((attempt.address for attempt in attempts if attempt.reach is Reach.OPEN), None)
    if first is None:
        return _Way(names=names, attempts=attempts)
    if means.trust is None:
        return _Way(names=names, attempts=attempts, port=await what_speaks(first, number, asked.timeout_s))
    place = Place(address=first, port=number, name=means.name or host, timeout_s=asked.timeout_s)
    shaken = await handshake(place, means.trust)
    bare = None
    if shaken.trust in {Trust.NO_TLS, Trust.NO_HTTP2}:
        bare = await what_speaks(first, number, asked.timeout_s)
    return _Way(names=names, attempts=attempts, port=bare, handshake=shaken)


def _metrics_url(asked: Asked, way: _Way) -> Url | None:
    if asked.metrics is not None:
        return parse_url(asked.metrics)
    where = host_and_port(asked.target)
    if where is None or way.names is None or not way.names.addresses:
        return None
    return Url(host=where[0], port=DEFAULT_PORT, path="/metrics")


async def _try_frames(asked: Asked, means: Means, calls: Calls) -> Frames | None:
    if not isinstance(calls.info, ModelInfo):
        return None
    means.progress.at("frames")
    return await try_frames(means.client, calls.info.limits, asked.frame_size, asked.timeout_s)
