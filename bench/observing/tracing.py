"""What tracing costs a frame: CPU time of the server's process, by the share of frames that are traced.

Each round has a burst of frames for each way to trace, in a drawn order; a ratio is taken within the round. A burst's
CPU time is read from the process's own clock, in nanoseconds, when no span waits any more: before the burst and after
it. So the threads that send spans are in it, and those of the burst before are not.

Trap: spans are sent at the end of each burst, a few at a time. A server sends those of five seconds together, so what a
traced frame costs there is less.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import grpc

from bench.load.generator import LoadFailed
from bench.load.pictures import Content, Pictures
from bench.machine.processes import BenchFailed, Place, Server, pinned, server

from .camera import Camera, connection_to, stream_on
from .doors import SETTLE, Way
from .pairs import Progress, Ratio, of_medians
from .sink import sink

FRAMES, WINDOW = 1024, 8
_WARMUP_ROUNDS = 1
_CLOCK_OF_PROCESS = 2  # the kernel's, of all its threads together


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """`frame_ns`: CPU time of a frame, for each round."""

    frame_ns: Mapping[Way, Sequence[float]]

    def ratio(self, way: Way) -> Ratio:
        """By frames without a tracer, of which each round has two bursts."""
        pairs = zip(self.frame_ns[Way.OFF], self.frame_ns[Way.AGAIN], strict=True)
        under = self.frame_ns[Way.OFF] if way is Way.AGAIN else [(one + other) / 2 for one, other in pairs]
        return of_medians(self.frame_ns[way], under)


def tracing(rounds: int, frames: int, place: Place, progress: Progress) -> Tracing:
    """Measure. Raises BenchFailed."""
    if find_spec("opentelemetry") is None:
        raise BenchFailed("OpenTelemetry is not installed: pip install 'reidstream-server[tracing]'")
    with (
        pinned(place.load),
        sink() as endpoint,
        server("bench.observing.doors", ["--endpoint", endpoint], place.server) as served,
    ):
        try:
            return asyncio.run(_measure(served, rounds, frames, progress))
        except (LoadFailed, grpc.aio.AioRpcError) as error:
            raise BenchFailed(f"the load failed: {error!r}") from error


async def _measure(served: Server, rounds: int, frames: int, progress: Progress) -> Tracing:
    *doors, control = map(connection_to, served.address.split(","))
    try:
        (message,) = Pictures(content=Content.CROPS, boxes=1, count=1).messages()
        settle: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = control.unary_unary(SETTLE)
        cameras = {way: Camera(stream_on(door), message, WINDOW) for way, door in zip(Way, doors, strict=True)}
        for camera in cameras.values():
            await camera.open()
        found: dict[Way, list[float]] = {way: [] for way in Way}
        drawn = random.Random(0)  # noqa: S311 - an order
        for number in range(_WARMUP_ROUNDS + rounds):
            for way in drawn.sample(list(Way), len(Way)):
                await settle(b"")
                before = _cpu_ns(served.pid)
                await cameras[way].burst(frames)
                await settle(b"")
                if number >= _WARMUP_ROUNDS:
                    found[way].append((_cpu_ns(served.pid) - before) / frames)
            progress()
        return Tracing(frame_ns=found)
    finally:
        for channel in (*doors, control):
            await channel.close()


def _cpu_ns(pid: int) -> int:
    """What all threads of a process have computed so far."""
    return time.clock_gettime_ns((~pid) << 3 | _CLOCK_OF_PROCESS)
