"""What the server says by its unary methods: health, models, limits, sessions, and how long an answer takes.

Why one after the other: each needs the one before it. Trap: a server counts what a client calls, and has whoever calls
without a pause wait. So pings have a rest between them, or doctor would measure its own penalty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final, TypeVar

from reidstream_client.admin import ServerSessions
from reidstream_client.aio import AsyncReidClient
from reidstream_client.cli.doctor.seen import Answer, Calls, Clock, is_lacking
from reidstream_client.connection.protocols import Connection, Health, ask_health
from reidstream_client.connection.within import within
from reidstream_client.errors import CallTimeout, ReidError, ServerUnavailable

T = TypeVar("T")

PINGS: Final = 16
_REST_S: Final = 0.002
_GRACE_S: Final = 1.0
"""How much longer than a call's own time-out to wait: gRPC ends the call, and says more."""


async def answer_of(call: Awaitable[T], timeout_s: float) -> Answer[T]:
    """What it gives, or its error."""
    try:
        return await within(timeout_s + _GRACE_S, call)
    except asyncio.TimeoutError:
        return CallTimeout(f"no answer within {timeout_s:g} s")
    except ReidError as error:
        return error.with_traceback(None)


async def ask(client: AsyncReidClient, connection: Connection, model: str, timeout_s: float) -> Calls:
    """As far as the server answers."""
    health = await answer_of(ask_health(connection, timeout_s=timeout_s), timeout_s)
    if isinstance(health, ServerUnavailable | CallTimeout):
        return Calls(health=health)
    models = await answer_of(client.models(), timeout_s)
    if isinstance(models, ReidError) and not is_lacking(models):
        return Calls(health=health, models=models)
    info = await answer_of(client.info(model), timeout_s)
    if is_lacking(info):
        return Calls(health=health, models=models, info=info)
    sessions, clock = await ask_sessions(client, timeout_s)
    pings = await _ping(connection, timeout_s) if isinstance(health, Health) else ()
    return Calls(health=health, models=models, info=info, sessions=sessions, clock=clock, pings=pings)


async def ask_sessions(client: AsyncReidClient, timeout_s: float) -> tuple[Answer[ServerSessions], Clock | None]:
    """The server's state. Its clock was read somewhere between question and answer."""
    asked_unix_s, begun_s = time.time(), time.monotonic()
    sessions = await answer_of(client.server_sessions(), timeout_s)
    half_s = (time.monotonic() - begun_s) / 2
    if isinstance(sessions, ReidError):
        return sessions, None
    return sessions, Clock(ahead_s=sessions.server.time_unix_s - asked_unix_s - half_s, within_s=half_s)


async def _ping(connection: Connection, timeout_s: float) -> tuple[float, ...]:
    """Health checks one after the other, for `timeout_s` at most."""
    deadline_s = time.monotonic() + timeout_s
    took: list[float] = []
    while len(took) < PINGS and (begun_s := time.monotonic()) < deadline_s:
        answer = await answer_of(ask_health(connection, timeout_s=timeout_s), timeout_s)
        if isinstance(answer, ReidError):
            break
        took.append(time.monotonic() - begun_s)
        await asyncio.sleep(_REST_S)
    return tuple(took)
