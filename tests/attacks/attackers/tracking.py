"""Tracks without end."""

from __future__ import annotations

from reidstream_proto.v1 import session_pb2

from .http2 import Http2, prefix
from .messages import ended_tracks, new_tracks, opening
from .target import EMBED_STREAM, Target, again, together


async def unending_tracks(target: Target, *, cameras: int = 60, boxes: int = 1000) -> None:
    """60 cameras of one client, each sending frames of 1,000 boxes with track ids that are new each time, and after
    each the ends of 4,096 tracks that nobody has; nobody reads the answers.

    Aims at: what the server remembers of tracks, ends of tracks that wait to be read, and messages without a window.
    """
    options = session_pb2.TrackOptions(timeout_ms=3_600_000, once=session_pb2.EmbedOnce(), snapshots=True)
    ends = ended_tracks(4096)

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def camera(number: int) -> None:
                stream = await connection.call(EMBED_STREAM, target.headers)
                reject = session_pb2.OVERLOAD_POLICY_REJECT
                message = opening(f"attacker-{number}", policy=reject, tracks=options)
                await connection.data(stream, prefix(len(message)) + message)
                for frame in range(1, 10_000):
                    for message in (new_tracks(frame, boxes), ends):
                        await connection.data(stream, prefix(len(message)) + message)
                    target.became["frames sent"] += 1

            async def kept(number: int) -> None:
                while not connection.over:
                    try:
                        await camera(number)
                    except ConnectionError as error:
                        target.became[str(error)] += 1

            await together(cameras, kept)

    await again(target, attempt)
