"""Messages that stay in the server's memory: unfinished ones, refused ones, and frames that wait for room."""

from __future__ import annotations

import asyncio

from reidstream_proto.v1 import service_pb2

from .http2 import Http2, prefix
from .messages import numbered, opening, raw_body
from .target import EMBED, EMBED_STREAM, HEALTH_CHECK, Target, again, channel_to, stream_on, together

_MIB = 2**20
_BYTES_OF_ONE_KIND = bytes(_MIB)
_CONNECTIONS, _MANY = 4, 8


async def unfinished_health(target: Target, *, calls: int = 24, mib: int = 60) -> None:
    """24 health checks, of which 60 of 64 MiB are sent, and never the rest. Health asks for no token.

    Aims at: what gRPC receives before a method runs, in the name of nobody.
    """
    await _unfinished(target, HEALTH_CHECK, calls, mib)


async def unfinished_embeds(target: Target, *, calls: int = 48, mib: int = 63) -> None:
    """48 calls of Embed, of which 63 of 64 MiB are sent, and never the rest.

    Aims at: the bound on concurrent unary messages, of a client and of all.
    """
    await _unfinished(target, EMBED, calls, mib)


async def unfinished_frames(target: Target, *, calls: int = 48, mib: int = 63) -> None:
    """48 sessions, each with 63 of the 64 MiB of a frame, and never the rest.

    Aims at: the same through streams, whose messages no window counts until they are whole.
    """
    await _unfinished(target, EMBED_STREAM, calls, mib, first=True)


async def _unfinished(target: Target, path: str, calls: int, mib: int, *, first: bool = False) -> None:
    async def connection(number: int) -> None:
        await again(target, lambda: _hold(target, path, calls // _CONNECTIONS, mib, number, first=first))

    await together(_CONNECTIONS, connection)


async def _hold(target: Target, path: str, calls: int, mib: int, number: int, *, first: bool) -> None:
    async with Http2(target.host, target.port) as connection:

        async def one(index: int) -> None:
            try:
                stream = await connection.call(path, target.headers)
                target.became["calls begun"] += 1
                if first:
                    message = opening(f"attacker-{number}-{index}")
                    await connection.data(stream, prefix(len(message)) + message)
                await connection.data(stream, prefix((mib + 1) * _MIB - 1024))
                for _ in range(mib):
                    await connection.data(stream, _BYTES_OF_ONE_KIND)
                    target.became["MiB sent"] += 1
                await connection.ended(stream)
                target.became["ended by the server"] += 1
            except ConnectionError as error:
                target.became[str(error)] += 1
            await asyncio.sleep(0.05)

        async def keep(index: int) -> None:
            while not connection.over:
                await one(index)

        await together(calls, keep)


async def refused_messages(target: Target, *, mib: int = 24, at_once: int = 6) -> None:
    """Sessions that send one EndTracks of 24 MiB each, which the server refuses; six at a time.

    Aims at: messages that an exception's traceback keeps alive after their call.
    """
    ids = [2**62 + number for number in range(mib * _MIB // 9)]
    ending = service_pb2.EmbedStreamRequest()
    ending.end_tracks.track_ids.extend(ids)
    message = ending.SerializeToString()
    del ids, ending

    async def attempt() -> None:
        async with channel_to(target) as channel:
            call = stream_on(channel)
            await call.write(opening("attacker"))
            await call.read()
            target.became["EndTracks sent"] += 1
            await call.write(message)
            await call.read()

    await together(at_once, lambda _: again(target, attempt))


async def parked_frames(target: Target, *, sessions: int = 64, mib: int = 63) -> None:
    """64 sessions on eight connections, each sending raw frames of 63 MiB as fast as it may.

    Aims at: frames that wait for room in the queue, of which every session may have one, and gRPC's own buffers.
    """
    body = raw_body(mib * _MIB)

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            await together(sessions // _MANY, lambda index: _cameras(target, connection, body, index))

    await together(_MANY, lambda _: again(target, attempt))


async def _cameras(target: Target, connection: Http2, body: bytes, index: int) -> None:
    while not connection.over:
        try:
            stream = await connection.call(EMBED_STREAM, target.headers)
            message = opening(f"attacker-{index}", window=64)
            await connection.data(stream, prefix(len(message)) + message)
            for number in range(1, 10_000):
                head = numbered(body, number)
                await connection.data(stream, prefix(len(head) + len(body)) + head)
                await connection.data(stream, body)
                target.became["frames sent"] += 1
        except ConnectionError as error:
            target.became[str(error)] += 1
        await asyncio.sleep(0.05)
