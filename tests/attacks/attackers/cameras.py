"""Cameras by hand: sessions of one connection that send the same frame again and again, as fast as the server reads."""

from __future__ import annotations

from collections.abc import Callable

from .http2 import Http2, prefix
from .messages import numbered
from .target import EMBED_STREAM, Target, again, together

Opening = Callable[[int], bytes]
"""The SessionOpen of a camera, by its number."""


async def cameras(target: Target, count: int, opening: Opening, body: bytes, *, connections: int = 1) -> None:
    """`count` cameras on `connections` connections. `body`: of their Frame, without its number."""

    async def attempt(first: int) -> None:
        async with Http2(target.host, target.port) as connection:
            await together(count // connections, lambda index: _kept(target, connection, opening, body, first + index))

    await together(connections, lambda one: again(target, lambda: attempt(one * (count // connections))))


async def _kept(target: Target, connection: Http2, opening: Opening, body: bytes, number: int) -> None:
    while not connection.over:
        try:
            stream = await connection.call(EMBED_STREAM, target.headers)
            first = opening(number)
            await connection.data(stream, prefix(len(first)) + first)
            for frame in range(1, 1_000_000):
                head = numbered(body, frame)
                await connection.data(stream, prefix(len(head) + len(body)) + head + body)
                target.became["frames sent"] += 1
        except ConnectionError as error:
            target.became[str(error)] += 1
