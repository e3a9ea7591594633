"""One client with very many boxes."""

from __future__ import annotations

from .http2 import Http2, prefix
from .messages import crops_body, numbered, opening
from .target import EMBED_STREAM, Target, again, together


async def ready_crops(target: Target, *, cameras: int = 60, crops: int = 1000, crop_bytes: int = 25_000) -> None:
    """60 cameras of one client, each sending frames of 1,000 ready crops of 23 kB, with the policy WAIT.

    Aims at: admission by arrival. The queue is always full, and whoever waits for room waits behind all of them.
    """
    body = crops_body(crops, crop_bytes)

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def camera(number: int) -> None:
                stream = await connection.call(EMBED_STREAM, target.headers)
                message = opening(f"attacker-{number}")
                await connection.data(stream, prefix(len(message)) + message)
                for frame in range(1, 10_000):
                    head = numbered(body, frame)
                    await connection.data(stream, prefix(len(head) + len(body)) + head)
                    await connection.data(stream, body)
                    target.became["frames sent"] += 1

            async def kept(number: int) -> None:
                while not connection.over:
                    try:
                        await camera(number)
                    except ConnectionError as error:
                        target.became[str(error)] += 1

            await together(cameras, kept)

    await again(target, attempt)
