"""Calls and sessions that come and go as fast as they can, and ends that nobody takes."""

from __future__ import annotations

import asyncio
import os

from grpc_reflection.v1alpha import reflection_pb2

from .http2 import ACK, PREFACE, SETTINGS, Http2, frame, prefix
from .messages import numbered, opening, small_body
from .target import EMBED, EMBED_STREAM, HEALTH_CHECK, LIST_MODELS, Target, again, together

_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
_UNKNOWN = "/reidstream.v1.Nobody/Nothing"


async def quick_calls(target: Target, *, at_once: int = 200) -> None:
    """200 calls of ListModels at a time on one connection, each followed by the next.

    Aims at: the rate of calls. Their number at a time is bounded.
    """
    await _calls(target, LIST_MODELS, b"", at_once)


async def quick_checks(target: Target, *, at_once: int = 200) -> None:
    """The same with health checks, of a stranger.

    Aims at: the only call that is answered without any token.
    """
    await _calls(target, HEALTH_CHECK, b"", at_once)


async def refused_embeds(target: Target, *, at_once: int = 200) -> None:
    """The same with calls of Embed that name no camera.

    Aims at: refusals, which are answered before anybody asks what they cost.
    """
    await _calls(target, EMBED, b"", at_once)


async def unknown_methods(target: Target, *, at_once: int = 200) -> None:
    """The same with a method that nobody has, of a stranger.

    Aims at: calls that no service ever sees.
    """
    await _calls(target, _UNKNOWN, b"", at_once)


async def _calls(target: Target, path: str, message: bytes, at_once: int) -> None:
    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def one_after_another(_: int) -> None:
                while True:
                    number = await connection.call(path, target.headers)
                    await connection.data(number, prefix(len(message)) + message, end=True)
                    target.became["calls"] += 1
                    await connection.ended(number)
                    connection.forget(number)
                    if connection.over:
                        raise ConnectionError("the server has ended the connection")

            await together(at_once, one_after_another)

    await again(target, attempt)


async def reflections(target: Target, *, streams: int = 16) -> None:
    """16 streams of reflection that ask for the same file again and again, of a stranger.

    Aims at: a service that is not ours, and whose streams have no window.
    """
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="reidstream.v1.EmbeddingService")
    message = request.SerializeToString()

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def stream(_: int) -> None:
                while not connection.over:
                    try:
                        number = await connection.call(_REFLECTION)
                        while True:
                            await connection.data(number, (prefix(len(message)) + message) * 16)
                            target.became["requests"] += 16
                    except ConnectionError as error:
                        target.became[str(error)] += 1
                    await asyncio.sleep(0.05)

            await together(streams, stream)

    await again(target, attempt)


async def takeovers(target: Target, *, names: int = 16) -> None:
    """16 sessions, each of which is taken over by a stream of its next epoch, again and again, and never closed.

    Aims at: a place that is given back before the stream that had it has ended.
    """

    async def attempt() -> None:
        async with Http2(target.host, target.port) as connection:

            async def name(_: int) -> None:
                identity = os.urandom(16)
                for epoch in range(1, 1_000_000):
                    number = await connection.call(EMBED_STREAM, target.headers)
                    message = opening("attacker", session_id=identity, epoch=epoch)
                    await connection.data(number, prefix(len(message)) + message)
                    target.became["epochs"] += 1
                    await asyncio.sleep(0)

            await together(names, name)

    await again(target, attempt)


async def untaken_answers(target: Target, *, count: int = 256, frames: int = 8) -> None:
    """256 cameras that send 8 frames of 100 boxes, say that this was all, and take no answer.

    Aims at: streams at their end, with all their answers.
    """
    body = small_body(100)

    async def attempt() -> None:
        async with Http2(target.host, target.port, grants=4000, renews=False) as connection:

            async def camera(number: int) -> None:
                stream = await connection.call(EMBED_STREAM, target.headers)
                first = opening(f"attacker-{number}", window=64)
                await connection.data(stream, prefix(len(first)) + first)
                for frame_id in range(1, frames + 1):
                    head = numbered(body, frame_id)
                    message = prefix(len(head) + len(body)) + head + body
                    await connection.data(stream, message, end=frame_id == frames)
                    target.became["frames sent"] += 1
                await connection.ended(stream)

            async def kept(number: int) -> None:
                while not connection.over:
                    try:
                        await camera(number)
                    except ConnectionError as error:
                        target.became[str(error)] += 1

            await together(count, kept)

    await again(target, attempt)


async def kept_connections(target: Target, *, count: int = 4000) -> None:
    """4,000 connections that have said all that HTTP/2 demands, and nothing else.

    Aims at: what a connection costs that has no call.
    """
    words = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
    held: list[asyncio.StreamWriter] = []

    async def attempt() -> None:
        while True:
            if len(held) >= count:
                await asyncio.sleep(0.1)
                continue
            _, writer = await asyncio.open_connection(target.host, target.port)
            writer.write(words)
            held.append(writer)
            target.became["connections"] += 1

    try:
        await again(target, attempt)
    finally:
        for writer in held:
            writer.transport.abort()
