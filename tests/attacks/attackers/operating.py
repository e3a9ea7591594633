"""What is around the frames: the metrics' port, signals, the log, clocks, shared memory."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import mmap
import operator
import os
import signal
from contextlib import suppress

import numpy as np

from reidstream_client import AsyncReidClient, ReidError
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_proto.v1.contract import SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_NONCE_BYTES, SEGMENT_SEALS

from .messages import opening
from .target import Call, Target, again, answer_of, channel_to, stream_on, together

_WIDTH = 5500
_SEALS = functools.reduce(operator.or_, SEGMENT_SEALS.values())


async def scrapes(target: Target, *, count: int = 300) -> None:
    """300 connections to the metrics' port at once that ask for all metrics, and 300 more that say nothing.

    Aims at: a port without authentication, in the process that serves.
    """

    async def scrape() -> None:
        reader, writer = await asyncio.open_connection(target.host, target.metrics_port)
        try:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            target.became[f"answered {answer[9:12].decode(errors='replace') or 'nothing'}"] += 1
        finally:
            writer.close()

    async def silent() -> None:
        reader, writer = await asyncio.open_connection(target.host, target.metrics_port)
        try:
            await reader.read()
            target.became["a silent connection was ended"] += 1
        finally:
            writer.close()

    await together(2 * count, lambda number: again(target, scrape if number < count else silent))


async def log_lines(target: Target) -> None:
    """Sessions that are opened and left, as fast as they can be: each writes two lines into a log that nobody reads.

    Aims at: writing to stderr on the event loop.
    """

    async def attempt() -> None:
        async with channel_to(target) as channel:
            while True:
                call = stream_on(channel)
                await call.write(opening("attacker"))
                await call.read()
                call.cancel()
                target.became["sessions"] += 1

    await together(2, lambda _: again(target, attempt))


async def hang_ups(target: Target) -> None:
    """SIGHUP twice a second, as a terminal that is closed or a habit of administrators sends it.

    Aims at: signals whose default is to kill. (Only the same user, or root, can send one.)
    """
    while True:
        os.kill(target.pid, signal.SIGHUP)
        target.became["SIGHUP"] += 1
        await asyncio.sleep(0.5)


async def endless_ages(target: Target) -> None:
    """Frames that claim to be 2^64 - 1 nanoseconds old.

    Aims at: sums in the metrics, which one such value would spoil until the server is started again.
    """
    picture = image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=64, height=64, data=bytes(64 * 64 * 3))
    box = image_pb2.Box(rect=image_pb2.Rect(x1=0, y1=0, x2=32, y2=64))

    async def attempt() -> None:
        async with channel_to(target) as channel:
            call = stream_on(channel)
            await call.write(opening("attacker"))
            await call.read()
            for number in range(1, 2**31):
                frame = frame_pb2.Frame(frame_id=number, raw=picture, boxes=[box], age_ns=2**64 - 1)
                await call.write(service_pb2.EmbedStreamRequest(frame=frame).SerializeToString())
                target.became["no answer" if await answer_of(call) is None else "answered"] += 1
                await asyncio.sleep(0.1)

    await again(target, attempt)


async def unwritten_memory(target: Target, *, rows: int = 4000) -> None:
    """Raw frames of 63 MiB in shared memory that was never written, a window full of them.

    Aims at: the copy that the server makes of pages that are missing, on whichever thread.
    """
    size = mmap.PAGESIZE + 3 * _WIDTH * rows
    file = os.memfd_create("attacker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    nonce = bytes(range(SEGMENT_NONCE_BYTES))
    with mmap.mmap(file, size) as memory:
        memory[:SEGMENT_HEADER_BYTES] = SEGMENT_MAGIC + nonce
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        offer = session_pb2.SharedMemory(pid=os.getpid(), fd=file, size_bytes=size, nonce=nonce)
        message = service_pb2.EmbedStreamRequest.FromString(opening("attacker"))
        message.session_open.shared_memory.CopyFrom(offer)
        first = message.SerializeToString()
        box = image_pb2.Box(rect=image_pb2.Rect(x1=0, y1=0, x2=64, y2=128))
        picture = image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=_WIDTH, height=rows)
        picture.shared.offset_bytes, picture.shared.length_bytes = mmap.PAGESIZE, 3 * _WIDTH * rows

        async def attempt() -> None:
            async with channel_to(target) as channel:
                call = stream_on(channel)
                await call.write(first)
                opened = await answer_of(call)
                agreed = opened is not None and opened.session_opened.shared_memory.size_bytes
                target.became["memory agreed" if agreed else "memory refused"] += 1
                await _keep_sending(target, call, frame_pb2.Frame(raw=picture, boxes=[box]))

        await again(target, attempt)


async def _keep_sending(target: Target, call: Call, frame: frame_pb2.Frame) -> None:
    for number in range(1, 2**31):
        frame.frame_id = number
        await call.write(service_pb2.EmbedStreamRequest(frame=frame).SerializeToString())
        if number > 4:
            answer = await answer_of(call)
            if answer is None:
                return
            error = answer.frame_result.error
            target.became[f"answered {error.message[:60]!r}" if error.reason else "embedded"] += 1


async def nothing(target: Target) -> None:
    """No attack: it shows what the machine's own noise does to the victim."""
    target.became["nothing was sent"] += 1
    await asyncio.Event().wait()


async def another_camera(target: Target) -> None:
    """No attack: an ordinary camera beside the victim, with as many boxes, whose window is always full.

    It shows what fair sharing costs the victim: the server has then no idle core.
    """

    async def attempt() -> None:
        async with AsyncReidClient(target.address, camera_id="neighbour") as client, client.stream() as session:
            pixels = np.zeros((1080, 1920, 3), np.uint8)
            boxes = [[100 * n, 100, 100 * n + 80, 300] for n in range(8)]
            for _ in range(8):
                await session.send(pixels, boxes)
            async for _ in session:
                target.became["answered"] += 1
                await session.send(pixels, boxes)

    while True:
        with suppress(ReidError):
            await attempt()
