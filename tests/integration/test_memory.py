"""The bound of the process's memory: published, and kept against clients that send messages without their ends.

The server is a process, because memory is the process's. What is asserted are sums of its own, in bytes; no clock.
"""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import grpc

from reidstream_proto.v1 import frame_pb2, service_pb2, service_pb2_grpc
from reidstream_server.memory.budget import REACTION_BYTES, SERVING_BYTES, Part
from reidstream_server.memory.rule import MUCH_BYTES
from tests.support.half_messages import HalfMessages, half_messages
from tests.support.harness import RawStream, box, frame, opening, picture, raw_image, serving, stub_of
from tests.support.patience import HANG_S
from tests.support.process import ServerProcess, server_process

MIB, PAGE = 2**20, os.sysconf("SC_PAGE_SIZE")
MESSAGE, RECEIVING = 8 * MIB, 96 * MIB
FLAGS = (f"--max-message-bytes={MESSAGE}", f"--max-window-bytes={MESSAGE}", f"--max-receiving-bytes={RECEIVING}")
STREAM = "/reidstream.v1.EmbeddingService/EmbedStream"
NOISE = 100 * MIB


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server process with little room for what is received."""

    server: ServerProcess
    port: int
    metrics_port: int

    @property
    def private_bytes(self) -> int:
        """Its private memory now, by the kernel."""
        text = Path(f"/proc/{self.server.process.pid}/statm").read_text(encoding="ascii")
        _, resident, shared, *_ = map(int, text.split())
        return (resident - shared) * PAGE

    async def figures(self) -> dict[str, float]:
        """Its metrics."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=HANG_S).read().decode())
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def figure(self, series: str) -> float:
        """One of its metrics."""
        return (await self.figures())[series]


@asynccontextmanager
async def served(*flags: str) -> AsyncIterator[Served]:
    """The process, and where it listens."""
    with server_process(*FLAGS, *flags) as (server, address):
        serving_event = next(event for event in server.log if event["event"] == "serving")
        yield Served(
            server=server, port=int(address.rpartition(":")[2]), metrics_port=int(str(serving_event["metrics_port"]))
        )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another process; fails after a time that only a hang takes."""
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(0.05)


@asynccontextmanager
async def attacker(port: int, calls: int) -> AsyncIterator[HalfMessages]:
    """A connection that sends all of its messages but their last byte, as far as it is let."""
    async with half_messages(port) as connection:
        for number in range(calls):  # in open sessions: first messages of streams are received a few at a time
            first = opening(camera_id=f"half-{number}").SerializeToString()
            connection.begin(STREAM, MESSAGE - 5, MESSAGE - 6, first)
        yield connection


async def test_messages_without_their_ends_stay_below_the_bound_and_memory_comes_back() -> None:
    """One connection sends 60 messages of 8 MiB that lack a byte: 480 MiB, of 96 that all together may hold.

    Its calls are ended with a word, it is cut, and the memory goes back to the system. A camera on a connection of its
    own gets all its answers meanwhile.
    """
    async with served() as victim:
        base = await victim.figure('reidstream_memory_limit_bytes{part="base"}')
        total = await victim.figure("reidstream_private_memory_limit_bytes")
        most = 0
        async with stub_of(victim.port) as stub, attacker(victim.port, 60) as connection:
            camera = stub.EmbedStream()
            await camera.write(opening())
            await camera.read()
            sending = asyncio.create_task(connection.send())
            for number in range(30):
                await camera.write(frame(number))
                answer = await camera.read()
                assert isinstance(answer, service_pb2.EmbedStreamResponse)
                assert answer.frame_result.frame_id == number
                assert not answer.frame_result.HasField("error")
                most = max(most, victim.private_bytes)
                if not sending.done():
                    await asyncio.wait({sending}, timeout=0.1)
            await sending
            await until(lambda: connection.closed)
            most = max(most, victim.private_bytes)
            assert connection.over > 0
            await camera.done_writing()
            assert await camera.code() is grpc.StatusCode.OK
        assert most - base < RECEIVING + SERVING_BYTES + 3 * MESSAGE + REACTION_BYTES
        assert most < total
        await until(lambda: victim.private_bytes - base < MUCH_BYTES + NOISE // 2)
        ended = [event for event in victim.server.log if event["event"] == "receiving_full"]
        assert {event["peer"] for event in ended} == {connection.peer}
        # On a slow machine it is ended once more, since what it holds is not free in time.
        assert await victim.figure("reidstream_connections_ended_total") == len(ended) > 0
        assert await victim.figure('reidstream_calls_refused_total{reason="receiving_full"}') > 0


async def test_many_connections_that_hold_a_little_each_are_ended_one_by_one() -> None:
    """As many as it takes, and not all of them: below the bound everybody may go on."""
    async with served() as victim, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(attacker(victim.port, 2)) for _ in range(24)]
        sending = [asyncio.create_task(connection.send()) for connection in connections]
        await asyncio.gather(*sending)
        await until(lambda: sum(connection.closed for connection in connections) > 3)
        assert not all(connection.closed for connection in connections)
        assert victim.private_bytes < await victim.figure("reidstream_private_memory_limit_bytes")


async def test_below_the_bound_nobody_is_ended() -> None:
    """A slow client holds half a message for as long as it likes."""
    async with served() as victim, attacker(victim.port, 4) as connection:
        await connection.send()
        assert await victim.figure("reidstream_connections_ended_total") == 0
        assert connection.over == 0
        assert not connection.closed


SMALL = (
    f"--max-queue-bytes={2 * MESSAGE}",
    f"--max-parked-bytes={2 * MESSAGE}",
    "--max-image-pixels=2000000",
    f"--max-staged-bytes={MESSAGE}",
    f"--max-answer-bytes={MIB}",
    f"--max-held-answer-bytes={4 * MIB}",
)


async def camera(stub: service_pb2_grpc.EmbeddingServiceAsyncStub, name: str, *, raw: bool, reads: bool) -> None:
    """Sends large frames, or many boxes, as fast as it may, and reads answers or none. Until it is cancelled."""
    stream = RawStream(stub.EmbedStream())
    pixels, boxes = raw_image(picture(1600, 800)), [box(10, 10, 60 + n % 50, 120) for n in range(500)]
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
        await stream.open(camera_id=name)
        reading = asyncio.create_task(stream.results()) if reads else None
        for number in count():
            message = frame_pb2.Frame(frame_id=number, raw=pixels, boxes=boxes[:50])
            await stream.call.write(
                service_pb2.EmbedStreamRequest(frame=message) if raw else frame(number, boxes=boxes)
            )
        del reading


async def test_every_part_at_once_stays_within_its_line_and_the_whole_within_the_sum() -> None:
    """Raw frames beyond the queue, clients that read no answer, and messages without their ends, all together.

    Every part is seen in use, none above its line of the budget, and private memory never passes the sum.
    """
    async with served(*SMALL) as victim, AsyncExitStack() as stack:
        stub = await stack.enter_async_context(stub_of(victim.port))
        halves = [await stack.enter_async_context(attacker(victim.port, 3)) for _ in range(8)]
        tasks = [asyncio.create_task(half.send()) for half in halves]
        tasks += [asyncio.create_task(camera(stub, f"raw-{n}", raw=True, reads=True)) for n in range(12)]
        tasks += [asyncio.create_task(camera(stub, f"mute-{n}", raw=False, reads=False)) for n in range(12)]
        unseen = {part.value for part in (Part.PARKED, Part.QUEUE, Part.STAGED, Part.ANSWERS)}
        async with asyncio.timeout(HANG_S):
            while unseen or not await victim.figure("reidstream_connections_ended_total"):
                found = await victim.figures()
                for part in Part:
                    held = found.get(f'reidstream_memory_bytes{{part="{part.value}"}}', 0.0)
                    assert held <= found[f'reidstream_memory_limit_bytes{{part="{part.value}"}}'], part
                    if held:
                        unseen.discard(part.value)
                assert victim.private_bytes < found["reidstream_private_memory_limit_bytes"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_client_is_told_every_part_and_the_sum() -> None:
    """`GetModel` publishes the budget, by the names of the settings."""
    async with serving(max_receiving_bytes=256 * MIB) as server, stub_of(server.port) as stub:
        answer = await stub.GetModel(service_pb2.GetModelRequest())
        memory = answer.memory
        assert memory.max_bytes == sum(part.max_bytes for part in memory.parts)
        assert memory.max_client_bytes == sum(part.max_client_bytes for part in memory.parts)
        parts = {part.name: part for part in memory.parts}
        assert parts["receiving"].max_bytes == answer.limits.max_receiving_bytes == 256 * MIB
        assert parts["receiving"].setting == "max_receiving_bytes"
        assert parts["base"].max_bytes > 0
        assert server.parts.budget.total_bytes == memory.max_bytes
