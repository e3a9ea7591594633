"""Calls that do nothing but take a place."""

from __future__ import annotations

import asyncio

from .http2 import Http2, prefix
from .messages import opening
from .target import EMBED_STREAM, HEALTH_WATCH, LIST_MODELS, Target, again, together


async def idle_sessions(target: Target, *, count: int = 512) -> None:
    """Opens 512 sessions on one connection, and sends nothing in them.

    Aims at: the places for sessions: 256 of them are all there are unless a server is told otherwise.
    """
    await _crowd(target, count, EMBED_STREAM, opens=True)


async def silent_streams(target: Target, *, count: int = 1024) -> None:
    """Opens 1,024 streams on one connection, and never says which session they are.

    Aims at: the places for streams whose first message has not come.
    """
    await _crowd(target, count, EMBED_STREAM)


async def unread_openings(target: Target, *, count: int = 512) -> None:
    """Opens 512 sessions on one connection that grants no window, so that not even SessionOpened can be sent.

    Aims at: the end of clients that do not read, which must hold from the first answer on.
    """
    await _crowd(target, count, EMBED_STREAM, opens=True, grants=0)


async def ungranted_calls(target: Target, *, count: int = 2000) -> None:
    """2,000 calls of ListModels whose answers cannot be sent, because the client grants no window.

    Aims at: calls that are done for the server and never over.
    """
    await _crowd(target, count, LIST_MODELS, message=b"", grants=0)


async def health_watches(target: Target, *, count: int = 4000) -> None:
    """4,000 health watches on four connections. Health asks for no token.

    Aims at: calls that last as long as their client likes.
    """
    await together(4, lambda _: _crowd(target, count // 4, HEALTH_WATCH, message=b""))


async def _crowd(
    target: Target, count: int, path: str, *, opens: bool = False, message: bytes | None = None, grants: int = 65_535
) -> None:
    """Hold `count` calls on one connection; what the server ends is opened again, a few at a time."""

    async def attempt() -> None:
        async with Http2(target.host, target.port, grants=grants) as connection:
            held: set[int] = set()
            while True:
                for _ in range(min(64, count - len(held))):
                    number = await connection.call(path, target.headers)
                    first = opening(f"attacker-{number}") if opens else message
                    if first is not None:
                        await connection.data(number, prefix(len(first)) + first, end=path == LIST_MODELS)
                    held.add(number)
                    target.became["calls begun"] += 1
                await asyncio.sleep(0.05)
                for number in [one for one in held if connection.is_over(one)]:
                    held.discard(number)
                    connection.forget(number)
                    target.became["ended by the server"] += 1

    await again(target, attempt)
