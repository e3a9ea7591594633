"""Live cameras on bare streams: frames leave when they are due, whatever happened to the ones before.

Why not the product's client: it keeps to its window, so it gives up most frames before the server sees them. Here we
look at how the server copes with cameras that do not. Messages are ready bytes, as in `bench.load`.

Trap: all cameras must be counted over the same stretch of time, so boxes count by the moment of their answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc

from bench.load.arrivals import Cameras
from bench.load.generator import METHOD, Call, LoadFailed
from bench.load.pictures import numbered
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCamera:
    """`message`: a serialised request without frame_id."""

    message: bytes
    frames_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every camera agrees on. `window`: frames; `policy`: as in the contract."""

    policy: session_pb2.OverloadPolicy.ValueType
    window: int
    budget_ms: int


@dataclass(slots=True, kw_only=True)
class Got:
    """What a camera got while it was measured. Lists are of frames with vectors, in seconds.

    `started_s`, `answered_s`: the age since arrival at the server when the first batch started, and when the answer was
    composed. `delays_s`: from sending to having the answer, at the camera. `late_s`, of all frames: how late it sent.
    """

    boxes: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    started_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)

    def take(self, result: frame_pb2.FrameResult, delay_s: float, late_s: float) -> None:
        """Count an answer."""
        self.late_s.append(late_s)
        if result.HasField("error"):
            reason = frame_pb2.ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_").lower()
            self.frames[reason] += 1
            return
        self.frames["embedded"] += 1
        self.boxes += sum(box.outcome == frame_pb2.OUTCOME_EMBEDDED for box in result.boxes)
        self.started_s.append(result.timing.first_batch_started_ns / 1e9)
        self.answered_s.append(result.timing.sent_ns / 1e9)
        self.delays_s.append(delay_s)


@dataclass(slots=True, eq=False)
class _Stream:
    """One camera's stream."""

    call: Call
    message: bytes
    got: Got = field(default_factory=Got)
    sent: dict[int, tuple[float, float]] = field(default_factory=dict)

    async def open(self, name: str, terms: Terms) -> None:
        opening = session_pb2.SessionOpen(session_id=os.urandom(16), overload_policy=terms.policy)
        opening.options.camera_id = name
        opening.options.latency_budget_ms = terms.budget_ms
        opening.window.frames = terms.window
        await self.call.write(service_pb2.EmbedStreamRequest(session_open=opening).SerializeToString())
        if not (await self._read()).HasField("session_opened"):
            raise LoadFailed("the first answer is not SessionOpened")

    async def send(self, times: Sequence[float]) -> None:
        for number, due in enumerate(times, 1):
            await asyncio.sleep(due - time.perf_counter())
            self.sent[number] = (due, time.perf_counter())
            await self.call.write(numbered(self.message, number))

    async def take(self, count: int, begin: float, end: float) -> None:
        """Take this many answers; each frame has exactly one."""
        for _ in range(count):
            result = (await self._read()).frame_result
            now = time.perf_counter()
            due, sent = self.sent.pop(result.frame_id)
            if begin <= now < end:
                self.got.take(result, now - sent, sent - due)

    async def _read(self) -> service_pb2.EmbedStreamResponse:
        answer: object = await self.call.read()
        if not isinstance(answer, service_pb2.EmbedStreamResponse):
            raise LoadFailed("the server ended a stream before its time")
        return answer


async def watch(
    target: str, cameras: Sequence[LiveCamera], terms: Terms, *, warmup_s: float, measure_s: float
) -> list[Got]:
    """Let all cameras send; returns what each got. Raises LoadFailed, grpc.aio.AioRpcError, TimeoutError."""
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection each, as cameras have
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in cameras]
    try:
        streams = [
            _Stream(
                channel.stream_stream(METHOD, response_deserializer=service_pb2.EmbedStreamResponse.FromString)(),
                camera.message,
            )
            for channel, camera in zip(channels, cameras, strict=True)
        ]
        for number, stream in enumerate(streams):
            await stream.open(f"live-{number}", terms)
        start = time.perf_counter()
        begin, end = start + warmup_s, start + warmup_s + measure_s
        work = []
        for number, (stream, camera) in enumerate(zip(streams, cameras, strict=True)):
            plan = Cameras(count=len(cameras), frames_per_s=camera.frames_per_s)
            times = (start + plan.arrivals(number, end - start)).tolist()
            work += [stream.send(times), stream.take(len(times), begin, end)]
        async with asyncio.timeout(warmup_s + measure_s + _DRAIN_S):
            await asyncio.gather(*work)
        return [stream.got for stream in streams]
    finally:
        for channel in channels:
            await channel.close()
