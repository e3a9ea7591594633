"""The load generator, a process of its own: `python -m bench.load.generator` reads a Load and prints a LoadResult.

Open loop: frames leave at planned moments, however slow the server is. Closed loop: each connection keeps `window`
frames unanswered. It uses bare stubs and ready bytes instead of the product's client, because it shares the machine
with the server that it measures. Trap: in an open loop, delays count from the moment of sending. Those moments are part
of the result: if the generator woke up late, neither the server nor the simulated queue is blamed. Trap: on a machine
that is busy, a frame may take longer than a short measurement. So a closed loop is warm when each camera has had an
answer, and it is measured until there was at least one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc

from bench.machine.usage import Usage, busy_s, usage_of
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from .arrivals import Cameras
from .pictures import numbered
from .question import Load, LoadResult, Resources
from .shared import by_handle

Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, service_pb2.EmbedStreamResponse]"

METHOD = "/reidstream.v1.EmbeddingService/EmbedStream"
_DRAIN_S = 60.0


class LoadFailed(Exception):
    """An answer was an error, or a call ended before its time."""


@dataclass(slots=True)
class _Record:
    """One frame, on the clock of `time.perf_counter`."""

    planned: float
    sent: float
    answered: float = 0.0
    embedded: int = 0


@dataclass(slots=True)
class _Answers:
    """The answers to all cameras. `newest_s`: when the last one came."""

    newest_s: float = 0.0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds, which is looked at when an answer comes."""
        while not condition():
            self.came.clear()
            await self.came.wait()


@dataclass(slots=True, eq=False)
class _Camera:
    """One connection, one stream."""

    call: Call
    messages: Sequence[bytes]
    answers: _Answers
    records: dict[int, _Record] = field(default_factory=dict)

    async def open(self, name: str, window: int, offer: session_pb2.SharedMemory | None) -> None:
        """Open the session, and agree on shared memory."""
        opening = session_pb2.SessionOpen(session_id=os.urandom(16))
        opening.options.camera_id = name
        opening.window.frames = window
        if offer is not None:
            opening.shared_memory.CopyFrom(offer)
        await self.call.write(service_pb2.EmbedStreamRequest(session_open=opening).SerializeToString())
        first = await self._next()
        if not first.HasField("session_opened"):
            raise LoadFailed("the first answer is not SessionOpened")
        agreed = first.session_opened.shared_memory
        if offer is not None and agreed.size_bytes != offer.size_bytes:
            raise LoadFailed(f"no shared memory: {agreed.refusal}")

    async def send(self, planned: float | None = None) -> None:
        """Send the next frame."""
        number = len(self.records) + 1
        now = time.perf_counter()
        self.records[number] = _Record(now if planned is None else planned, now)
        await self.call.write(numbered(self.messages[number % len(self.messages)], number))

    async def receive(self) -> None:
        """Take one answer."""
        result = (await self._next()).frame_result
        if result.HasField("error"):
            raise LoadFailed(f"frame {result.frame_id}: {result.error.message}")
        record = self.records[result.frame_id]
        record.answered = self.answers.newest_s = time.perf_counter()
        self.answers.came.set()
        record.embedded = sum(box.outcome == frame_pb2.OUTCOME_EMBEDDED for box in result.boxes)

    async def _next(self) -> service_pb2.EmbedStreamResponse:
        answer: object = await self.call.read()
        if not isinstance(answer, service_pb2.EmbedStreamResponse):
            raise LoadFailed("the server ended a stream before its time")
        return answer

    @property
    def warm(self) -> bool:
        """Whether it has had an answer."""
        return any(record.answered for record in self.records.values())

    async def flood(self, window: int, over: asyncio.Event) -> None:
        """Keep `window` frames open until it is over, then take what is left."""
        for _ in range(window):
            await self.send()
        for left in range(window, 0, -1):
            await self.receive()
            while left == window and not over.is_set():
                await self.send()
                await self.receive()

    async def follow(self, times: Sequence[float]) -> None:
        """Send at these times, and take the answers meanwhile."""
        await asyncio.gather(self._send_at(times), self._take(len(times)))

    async def _send_at(self, times: Sequence[float]) -> None:
        for planned in times:
            await asyncio.sleep(planned - time.perf_counter())
            await self.send(planned)

    async def _take(self, count: int) -> None:
        for _ in range(count):
            await self.receive()


async def generate(load: Load) -> LoadResult:
    """Send the load. Raises LoadFailed, grpc.aio.AioRpcError, and TimeoutError if answers do not come."""
    messages = [await asyncio.to_thread(Path(name).read_bytes) for name in load.messages]
    offer: session_pb2.SharedMemory | None = None
    if load.shared:
        frames = by_handle(messages)
        offer, messages = frames.offer, frames.messages
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),  # a connection each, as cameras have
    ]
    channels = [grpc.aio.insecure_channel(load.target, options=options) for _ in range(load.connections)]
    try:
        answers = _Answers()
        window = load.window if load.frames_per_s is None else 0  # 0: as much as the server gives
        cameras = []
        for index, channel in enumerate(channels):
            call: Call = channel.stream_stream(
                METHOD, response_deserializer=service_pb2.EmbedStreamResponse.FromString
            )()
            turned = messages[index % len(messages) :] + messages[: index % len(messages)]
            cameras.append(_Camera(call, turned, answers))
            await cameras[-1].open(f"bench-{index}", window, offer)
        async with asyncio.timeout(load.warmup_s + load.measure_s + _DRAIN_S):
            if load.frames_per_s is None:
                return await _closed(load, cameras, answers)
            return await _open(load, cameras, load.frames_per_s)
    finally:
        for channel in channels:
            await channel.close()


async def _closed(load: Load, cameras: Sequence[_Camera], answers: _Answers) -> LoadResult:
    """Every camera keeps its window full."""
    start, over = time.perf_counter(), asyncio.Event()

    async def look() -> tuple[float, float, Resources]:
        await asyncio.sleep(load.warmup_s)
        await answers.until(lambda: all(camera.warm for camera in cameras))
        looking = _Looking(load)
        await asyncio.sleep(load.measure_s)
        await answers.until(lambda: answers.newest_s >= looking.began_s)
        used = looking.used()
        over.set()
        return looking.began_s, looking.began_s + used.seconds, used

    flooding = asyncio.gather(*(camera.flood(load.window, over) for camera in cameras))
    (begin, end, used), _ = await asyncio.gather(look(), flooding)
    records = [record for camera in cameras for record in camera.records.values() if begin <= record.answered <= end]
    return _result(records, start, used)


async def _open(load: Load, cameras: Sequence[_Camera], frames_per_s: float) -> LoadResult:
    """Frames leave when they are planned to."""
    start = time.perf_counter()
    begin, end = start + load.warmup_s, start + load.warmup_s + load.measure_s
    plan = Cameras(
        count=load.connections, frames_per_s=frames_per_s / load.connections, jitter=load.jitter, seed=load.seed
    )

    async def look() -> Resources:
        await asyncio.sleep(begin - time.perf_counter())
        looking = _Looking(load)
        await asyncio.sleep(end - time.perf_counter())
        return looking.used()

    sending = [
        camera.follow((start + plan.arrivals(index, end - start)).tolist()) for index, camera in enumerate(cameras)
    ]
    used, _ = await asyncio.gather(look(), asyncio.gather(*sending))
    records = [record for camera in cameras for record in camera.records.values() if begin <= record.sent < end]
    return _result(records, start, used)


def _result(counted: list[_Record], start: float, used: Resources) -> LoadResult:
    counted.sort(key=lambda record: record.sent)
    return LoadResult(
        embedded=sum(record.embedded for record in counted),
        began_s=start,
        sent_s=[record.sent - start for record in counted],
        delays_s=[record.answered - record.sent for record in counted],
        late_s=[record.sent - record.planned for record in counted],
        used=used,
    )


class _Looking:
    """What server and generator use from now on."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._before, self._load_cpu_s, self._busy_s = self._look()
        self.began_s = time.perf_counter()

    def _look(self) -> tuple[Usage, float, float]:
        return usage_of(self._load.server_pid), time.process_time(), busy_s(self._load.server_cores)

    def used(self) -> Resources:
        """Until now."""
        seconds = time.perf_counter() - self.began_s
        after, load_cpu_s, busy = self._look()
        server_cpu_s = after.cpu_s - self._before.cpu_s
        return Resources(
            seconds=seconds,
            server_cpu_s=server_cpu_s,
            server_faults=after.faults - self._before.faults,
            server_resident_bytes=after.resident_bytes,
            others_cpu_s=max(0.0, busy - self._busy_s - server_cpu_s),
            load_cpu_s=load_cpu_s - self._load_cpu_s,
        )


def main() -> int:
    """Read a Load from stdin, write a LoadResult to stdout; exit code 1 with the reason on stderr."""
    load = Load(**json.load(sys.stdin))
    try:
        result = asyncio.run(generate(load))
    except (LoadFailed, grpc.aio.AioRpcError, TimeoutError) as error:
        sys.stderr.write(f"the load failed: {error!r}\n")
        return 1
    json.dump(dataclasses.asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
