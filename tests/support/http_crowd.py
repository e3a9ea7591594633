"""A crowd of hostile HTTP clients, beside a gRPC stream that behaves: what they hear, and what is left of them.

Each input is a connection of its own. Whatever it says, all that it hears is valid HTTP, each refusal is problem+json
that gives nothing away, the stream has all its answers, and nothing is left: no connection, task, place or byte.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

from reidstream_proto.v1 import session_pb2
from reidstream_server.app import RunningServer
from tests.support.harness import RawStream, frame, stream_to, until
from tests.support.hostile_http import HostileScript, Leaving
from tests.support.http import door_of
from tests.support.patience import HANG_S

AT_ONCE = 48
ROUND = 2000
CONNECTIONS = 40  # so that some make room for others
PROBLEM = "application/problem+json"
GIVEN_AWAY = re.compile(rb'Traceback|File "|\.py\b|site-packages|/usr/|/home/|/root/|object at 0x')
HEADER = re.compile(rb"[!-9;-~]+: [ -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """How many there are, and of which seed. `script`: what one connection says."""

    count: int
    seed: str
    script: Callable[[random.Random], HostileScript]

    def of(self, number: int) -> HostileScript:
        """One of them, which can be run again."""
        return self.script(random.Random(f"{self.seed}.{number}"))  # noqa: S311 - not for secrets


class Heard:
    """Everything that the clients heard. `statuses`: how often each; 0 is a connection that ended without a word."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()

    def take(self, said: bytes, *, whole: bool) -> None:
        """What one client heard; fails if it is not HTTP. `whole`: it read to the end."""
        rest, count = said, 0
        while rest:
            if rest.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
                rest = rest[25:]
                continue
            head, end, rest = rest.partition(b"\r\n\r\n")
            if not end and not whole:
                return
            first, *lines = head.split(b"\r\n")
            found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]+", first)
            assert found, said[:500]
            assert all(HEADER.fullmatch(line) for line in lines), head
            headers = dict(line.decode().split(": ", 1) for line in lines)
            rest = self._body(int(found[1]), headers, rest, whole=whole)
            count += 1
        self.statuses[0] += count == 0

    def _body(self, status: int, headers: Mapping[str, str], rest: bytes, *, whole: bool) -> bytes:
        """What follows it."""
        self.statuses[status] += 1
        length = int(headers["content-length"])
        if rest.startswith(b"HTTP/1.1 ") or not rest:  # the answer to a HEAD
            return rest
        body, rest = rest[:length], rest[length:]
        if len(body) == length or whole:
            assert len(body) == length, (status, headers, body[:200])
            self.check(status, headers, body)
        return rest

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """One whole answer."""
        kind = headers.get("content-type", "")
        if kind in {PROBLEM, "application/json"}:
            said = json.loads(body)
            if status >= 400:
                assert kind == PROBLEM
                assert said["status"] == status
                assert said["detail"]
                assert len(body) < 4000
        assert status < 400 or kind in {PROBLEM, "text/plain; charset=utf-8"}
        assert status != 500 or b"its outcome is failed" in body, body  # of poison
        if status >= 400:
            assert not GIVEN_AWAY.search(body), body


async def _hostile(name: str, script: HostileScript, server: RunningServer, heard: Heard) -> None:
    """One connection. `name`: of the script, to find it again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    reading = asyncio.create_task(read_all(reader))
    try:
        for piece in script.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        match script.leaving:
            case Leaving.RESETS:
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                writer.close()
            case Leaving.CLOSES:
                writer.close()
            case Leaving.HALF_CLOSES:
                writer.write_eof()
            case Leaving.READS:
                pass
    except OSError:
        pass  # it was cut off
    said = await reading
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    try:
        heard.take(said, whole=False)
    except Exception as error:
        error.add_note(f"{name}: {script}"[:3000])
        raise


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, or a reset."""
    said = bytearray()
    with suppress(OSError):
        while data := await reader.read(2**16):
            said += data
    return bytes(said)


async def neighbour(stream: RawStream, finished: asyncio.Event) -> int:
    """Frames, one after another, each with its vectors, until the others are gone; how many."""
    await stream.open(camera_id="neighbour", window=session_pb2.Window(frames=4))
    number = 0
    while not finished.is_set():
        number += 1
        await stream.call.write(frame(number))
        result = await stream.result()
        assert (result.frame_id, result.HasField("error")) == (number, False)
        assert sum(block.count for block in result.blocks) == 2
        await asyncio.sleep(0.01)
    await stream.call.done_writing()
    assert await stream.read() is None
    return number


async def nothing_is_left(server: RunningServer, tasks: int) -> None:
    """Of any of them."""
    entrance, door = server.parts.entrance, door_of(server)
    await until(lambda: len(door.crowd) == 0)
    await until(lambda: entrance.places.taken == entrance.reception.taken == server.runtime.open_sessions == 0)
    assert (entrance.reception.waiting, entrance.turns.waiting, entrance.apart.waiting) == (0, 0, 0)
    left = server.runtime.statistics()
    assert (left.frames, left.queue_boxes, left.queue_bytes, left.staged_bytes, left.timers) == (0, 0, 0, 0, 0)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def hear_out(server: RunningServer, inputs: Inputs) -> Heard:
    """All of them, some at a time, beside the neighbour; what they heard. Fails if anything of them is left, or if
    memory grew with their number.
    """
    heard, places, grown = Heard(), asyncio.Semaphore(AT_ONCE), list[int]()
    door_of(server).crowd.most = CONNECTIONS
    tasks, finished = len(asyncio.all_tasks()), asyncio.Event()

    async def one(number: int) -> None:
        async with places:
            await _hostile(f"seed {inputs.seed}, input {number}", inputs.of(number), server, heard)

    async with stream_to(server) as stream:
        behaving = asyncio.create_task(neighbour(stream, finished))
        try:
            for first in range(0, inputs.count, ROUND):
                async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                    for number in range(first, min(first + ROUND, inputs.count)):
                        group.create_task(one(number))
                grown.append(private_bytes())
                sys.stderr.write(f"{first + ROUND} inputs, {grown[-1] >> 20} MiB, {dict(heard.statuses)}\n")
        finally:
            finished.set()
        assert await behaving > 0
    await nothing_is_left(server, tasks)
    gc.collect()  # a task whose exception nobody took says so when it goes
    has_not_grown(grown)
    return heard


def private_bytes() -> int:
    """Of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def has_not_grown(grown: list[int]) -> None:
    """By the private bytes after each round; the first ones fill what Python keeps."""
    if len(grown) > 4:
        assert grown[-1] - grown[2] < 32 * 2**20
