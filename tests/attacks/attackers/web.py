"""The HTTP port: uploads in masses, bodies without end, connections without requests, answers that nobody reads.

Trap: an attacker that waits for the server's answer measures its own patience. Most here send without listening.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.harness import encode, picture

from .target import Target, again, together

_MIB = 2**20
_PIECE = bytes(2**16)
_BOUNDARY = "XattackX"
_SPARE_DESCRIPTORS = 256


async def uploads(target: Target, *, count: int = 1000, kib: int = 350) -> None:
    """1,000 connections that upload pictures of 350 kB, all at once and for ever.

    Aims at: bodies in memory before there is a place for them.
    """
    body = _part(encode(picture(640, 480)) + bytes(kib * 1024))

    async def attempt() -> None:
        async with connected(target) as (reader, writer):
            while True:
                writer.write(_head(target, f"Content-Length: {len(body)}", _FORM) + body)
                await writer.drain()
                await count_answer(target, reader)

    await together(count, lambda _: again(target, attempt))


async def gigabytes(target: Target, *, count: int = 16, mib: int = 1024) -> None:
    """Bodies of 1 GB, half of them with their length and half in chunks, from 16 connections.

    Aims at: reading what will be refused.
    """

    async def attempt(number: int) -> None:
        async with connected(target) as (reader, writer):
            listening = asyncio.ensure_future(count_answer(target, reader))
            try:
                if number % 2:
                    writer.write(_head(target, f"Content-Length: {mib * _MIB}", _PICTURE))
                    await _pour(writer, b"", _PIECE, mib * 16)
                else:
                    writer.write(_head(target, _CHUNKED, _PICTURE))
                    await _pour(writer, b"10000\r\n", _PIECE + b"\r\n", mib * 16)
            finally:
                await _heard(listening)

    await together(count, lambda number: again(target, lambda: attempt(number)))


async def endless_bodies(target: Target, *, count: int = 32) -> None:
    """Bodies that never end and come slowly, from 32 connections: as many as are received at a time, twice.

    Aims at: the places in which bodies are received.
    """

    async def attempt() -> None:
        async with connected(target) as (reader, writer):
            writer.write(_head(target, _CHUNKED, _PICTURE))
            target.became["bodies begun"] += 1
            listening = asyncio.ensure_future(count_answer(target, reader))
            while not listening.done():
                writer.write(b"10\r\n" + bytes(16) + b"\r\n")
                await writer.drain()
                await asyncio.wait({listening}, timeout=0.1)
            await _heard(listening)

    await together(count, lambda _: again(target, attempt))


async def endless_trailers(target: Target, *, count: int = 8) -> None:
    """A body that is whole, and then trailers without end, from eight connections.

    Aims at: parsers that keep what nobody has asked for.
    """
    line = b"X-Trailer: " + b"y" * 500 + b"\r\n"

    async def attempt() -> None:
        async with connected(target) as (reader, writer):
            writer.write(_head(target, _CHUNKED, _PICTURE) + b"1\r\nx\r\n0\r\n")
            listening = asyncio.ensure_future(count_answer(target, reader))
            try:
                await _pour(writer, b"", line * 128, 16_384)
            finally:
                await _heard(listening)

    await together(count, lambda _: again(target, attempt))


async def tiny_chunks(target: Target, *, count: int = 8) -> None:
    """Bodies in chunks of one byte, from eight connections.

    Aims at: the event loop, which takes each chunk by itself.
    """
    chunks = b"1\r\nx\r\n" * 10_000

    async def attempt() -> None:
        async with connected(target) as (reader, writer):
            writer.write(_head(target, _CHUNKED, _PICTURE))
            listening = asyncio.ensure_future(count_answer(target, reader))
            try:
                await _pour(writer, b"", chunks, 1000)
            finally:
                await _heard(listening)

    await together(count, lambda _: again(target, attempt))


async def costly_forms(target: Target, *, count: int = 8) -> None:
    """Forms of thousands of parts, headers full of quotes, and boxes in a megabyte of JSON, from eight connections.

    Aims at: what is parsed on the event loop.
    """
    small = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".encode() * 20_000
    quotes = f"--{_BOUNDARY}\r\nContent-Disposition: ".encode() + b';"' * 2000 + b"\r\n\r\n\r\n"
    boxes = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name=boxes\r\n\r\n[{'[1,2,3,4],' * 95_000}[1,2,3,4]]\r\n"
    bodies = (small, quotes * 200, boxes.encode() + _part(encode(picture(64, 64))))

    async def attempt(number: int) -> None:
        async with connected(target) as (reader, writer):
            for body in bodies[number % 3 :] + bodies[: number % 3]:
                writer.write(_head(target, f"Content-Length: {len(body)}", _FORM) + body)
                await writer.drain()
                await count_answer(target, reader)

    await together(count, lambda number: again(target, lambda: attempt(number)))


async def idle_connections(target: Target, *, count: int = 10_000) -> None:
    """10,000 connections that ask nothing, and come back when they are ended.

    Aims at: descriptors, and a place for honest clients.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, count + _SPARE_DESCRIPTORS)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    async def attempt() -> None:
        async with connected(target) as (reader, _):
            target.became["connections opened"] += 1
            await reader.read()
            target.became["an idle connection was ended"] += 1

    await together(min(count, wanted - _SPARE_DESCRIPTORS), lambda _: again(target, attempt))


async def unread_answers(target: Target, *, count: int = 64, boxes: int = 900) -> None:
    """64 connections that ask for answers of megabytes, and read none.

    Aims at: answers that stay in memory.
    """
    several = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="boxes"\r\n\r\n'
    several += "[" + ",".join(["[10,10,60,120]"] * boxes) + "]\r\n"
    body = several.encode() + _part(encode(picture(320, 240)))
    asked = _head(target, f"Content-Length: {len(body)}", _FORM) + body

    async def attempt() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as mute:
            mute.setblocking(False)
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(mute, (target.host, target.http_port))
            for _ in range(8):
                await loop.sock_sendall(mute, asked)
                target.became["asked"] += 1
            await asyncio.sleep(5)

    await together(count, lambda _: again(target, attempt))


_PICTURE = "Content-Type: image/jpeg"
_FORM = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}"
_CHUNKED = "Transfer-Encoding: chunked"


def _part(data: bytes) -> bytes:
    """The last part of a form."""
    about = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    return about.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _head(target: Target, *lines: str) -> bytes:
    given = [f"{name}: {value}" for name, value in target.headers.items()]
    return "\r\n".join(["POST /embed HTTP/1.1", "Host: attacked", *given, *lines, "\r\n"]).encode()


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the HTTP port."""
    reader, writer = await asyncio.open_connection(target.host, target.http_port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _pour(writer: asyncio.StreamWriter, before: bytes, piece: bytes, times: int) -> None:
    """Write it so often, as fast as it is taken."""
    for _ in range(times):
        writer.write(before)
        writer.write(piece)
        await writer.drain()


async def count_answer(target: Target, reader: asyncio.StreamReader) -> None:
    """Read one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    target.became[f"answered {head[9:12].decode(errors='replace')}"] += 1
    (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))


async def _heard(listening: asyncio.Future[None]) -> None:
    """What an answer became, if there was one."""
    if not listening.done():
        await asyncio.wait({listening}, timeout=0.2)
    listening.cancel()
    with suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
        await listening
