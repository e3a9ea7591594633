"""HTTP clients that say anything at all, beside a gRPC stream that behaves.

Each input is a connection of its own. Whatever it says, all that it hears is valid HTTP, each refusal is problem+json
that gives nothing away, the stream has all its answers, and nothing is left: no connection, task, place or byte.
`HTTP_INPUTS=100000` says so many inputs instead of a few hundred; `make fuzz`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import re
import struct
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_engines.protocol import BoxCrop, Crop
from reidstream_proto.v1 import session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.transport.http_server import connection
from reidstream_server.transport.http_server import server as http_server
from tests.support.harness import JPEG, RawStream, frame, stream_to, until
from tests.support.hostile_http import Leaving, script_of
from tests.support.http import BOUNDARY, door_of, form, http_serving, http_to
from tests.support.patience import HANG_S

INPUTS = int(os.environ.get("HTTP_INPUTS", "600"))
SEED = os.environ.get("HTTP_SEED", "0")
AT_ONCE = 48
ROUND = 2000
CONNECTIONS = 40  # so that some make room for others
PROBLEM = "application/problem+json"
GIVEN_AWAY = re.compile(rb'Traceback|File "|\.py\b|site-packages|/usr/|/home/|/root/|object at 0x')
HEADER = re.compile(rb"[!-9;-~]+: [ -~]*")


def is_poison(crop: Crop) -> bool:
    """Some boxes, none of the neighbour's."""
    return isinstance(crop, BoxCrop) and crop.box.x1 % 7 == 5


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
        if headers["content-type"] in {PROBLEM, "application/json"}:
            said = json.loads(body)
            if status >= 400:
                assert headers["content-type"] == PROBLEM
                assert said["status"] == status
                assert said["detail"]
                assert len(body) < 4000
        assert status < 400 or headers["content-type"] in {PROBLEM, "text/plain; charset=utf-8"}
        assert status != 500, body
        if status >= 400:
            assert not GIVEN_AWAY.search(body), body


async def hostile(number: int, server: RunningServer, heard: Heard) -> None:
    """One connection."""
    rng = random.Random(f"{SEED}.{number}")  # noqa: S311 - so that a failure can be run again
    script = script_of(rng)
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
        error.add_note(f"HTTP_SEED={SEED}, input {number}: {script}"[:3000])
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


async def test_whatever_is_said_is_answered_and_nothing_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the log says nothing of it: anybody may say as much as he likes."""
    caplog.set_level(logging.WARNING)
    for name, seconds in (("HEAD_S", 0.3), ("LINGER_S", 0.05)):
        monkeypatch.setattr(connection, name, seconds)
    monkeypatch.setattr(http_server, "_KEEP_ALIVE_S", 0.1)
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    engine = FakeEngine(max_batch=8, script=FakeScript(poison=is_poison))
    bounds = {"max_boxes_per_frame": 35, "max_image_pixels": 100_000, "max_message_bytes": 2**20}
    heard, places, grown = Heard(), asyncio.Semaphore(AT_ONCE), []
    async with http_serving(engine, receive_timeout_s=0.3, **bounds) as server:
        door_of(server).crowd.most = CONNECTIONS
        tasks, finished = len(asyncio.all_tasks()), asyncio.Event()

        async def one(number: int) -> None:
            async with places:
                await hostile(number, server, heard)

        async with stream_to(server) as stream:
            behaving = asyncio.create_task(neighbour(stream, finished))
            try:
                for first in range(0, INPUTS, ROUND):
                    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                        for number in range(first, min(first + ROUND, INPUTS)):
                            group.create_task(one(number))
                    grown.append(private_bytes())
                    sys.stderr.write(f"{first + ROUND} inputs, {grown[-1] >> 20} MiB, {dict(heard.statuses)}\n")
            finally:
                finished.set()
            assert await behaving > 0
        await nothing_is_left(server, tasks)
        async with http_to(server) as http:
            assert (await http.ask("POST", "/embed", *form(JPEG))).status == 200
    gc.collect()  # a task whose exception nobody took says so when it goes
    assert not wrong
    said = [record for record in caplog.records if record.name != "reidstream_server.runtime.losses"]  # of poison
    assert not [record.getMessage() for record in said]
    assert set(heard.statuses) >= {0, 200, 400, 404, 405}
    if len(grown) > 4:  # the first rounds fill what Python keeps
        assert grown[-1] - grown[2] < 32 * 2**20


def private_bytes() -> int:
    """Of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_the_scripts_are_as_hostile_as_they_promise() -> None:
    """Many are requests that are right; all kinds of leaving are there."""
    scripts = [script_of(random.Random(seed)) for seed in range(500)]  # noqa: S311 - not for secrets
    assert {script.leaving for script in scripts} == set(Leaving)
    said = [b"".join(script.pieces) for script in scripts]
    assert sum(data.startswith(b"POST /embed HTTP/1.1\r\n") for data in said) > 50
    assert sum(f"--{BOUNDARY}--".encode() in data for data in said) > 50
    assert sum(b"chunked" in data for data in said) > 20
