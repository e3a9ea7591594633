"""Calls of the admin service by a client that may call it."""

from __future__ import annotations

import asyncio

import grpc

from reidstream_proto.admin.v1 import admin_pb2

from .http2 import Http2, prefix
from .messages import opening
from .target import EMBED_STREAM, GET_SESSION, LIST_SESSIONS, Target, again, channel_to, together

_NAME = "attacker " * 25


async def admin_calls(target: Target, *, connections: int = 16, at_once: int = 50, sessions: int = 100) -> None:
    """100 sessions with long names, and 16 connections that ask for all of them or for one, 50 calls at a time each.

    Aims at: answers that look at every session, on the event loop. (By default only callers on this machine may ask.)
    """

    async def hold() -> None:
        async with channel_to(target) as channel:
            stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EMBED_STREAM)
            calls = [stream(metadata=tuple(target.headers.items())) for _ in range(sessions)]
            for number, call in enumerate(calls):
                await call.write(opening(f"{_NAME}{number}"))
            await asyncio.gather(*(call.read() for call in calls))
            target.became["sessions"] += len(calls)
            await asyncio.gather(*(call.read() for call in calls))

    async def flood(_: int) -> None:
        await again(target, lambda: _flood(target, at_once))

    await together(connections + 1, lambda number: flood(number) if number else again(target, hold))


async def _flood(target: Target, at_once: int) -> None:
    async with Http2(target.host, target.port) as connection:

        async def one_after_another(number: int) -> None:
            for asked in range(2**31):
                one = admin_pb2.GetSessionRequest(number=asked % 1000).SerializeToString()
                path, message = (GET_SESSION, one) if number % 4 == 0 else (LIST_SESSIONS, b"")
                call = await connection.call(path, target.headers)
                await connection.data(call, prefix(len(message)) + message, end=True)
                target.became["calls"] += 1
                await connection.ended(call)
                connection.forget(call)
                if connection.over:
                    raise ConnectionError("the server has ended the connection")

        await together(at_once, one_after_another)
