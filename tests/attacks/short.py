"""The short form of an attack: the same attackers, with small numbers, against a server in this process.

Why: what must hold is that the server's own accounts stay within their bounds, that a newcomer is served, and that
nothing is left of an attacker who has gone. None of that needs a clock or much memory.

Trap: attacker and server share an event loop here, so delays mean nothing. They are measured by the long form alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from reidstream_server.app import RunningServer
from tests.support.harness import frame, stream_to, until
from tests.support.kserve import Tensor, kserve_stub, request, rows

from .attackers.target import Attack, Target


@asynccontextmanager
async def under_attack(server: RunningServer, attack: Attack, *, token: str = "") -> AsyncIterator[Target]:
    """The attack goes on inside the block; what it counts is in the target."""
    target = Target(
        host="127.0.0.1",
        port=server.port,
        metrics_port=server.metrics_port or 0,
        http_port=server.http_port or 0,
        pid=os.getpid(),
        headers={"authorization": f"Bearer {token}"} if token else {},
    )

    async def attacks() -> None:
        try:
            await attack(target)
        finally:
            target.gave_up.set()

    attacking = asyncio.create_task(attacks())
    try:
        yield target
        assert not attacking.done(), f"the attacker gave up: {attacking}"
    finally:
        attacking.cancel()
        await asyncio.wait({attacking})


async def attempts(target: Target, count: int) -> None:
    """The attacker has tried so often."""
    await until(lambda: sum(target.became.values()) >= count or target.gave_up.is_set())


async def visit(server: RunningServer, frames: int = 2, *, token: str = "") -> None:
    """Somebody comes on a connection of its own, and gets a vector for each box."""
    async with stream_to(server, token=token) as stream:
        await stream.open(camera_id="visitor")
        for number in range(1, frames + 1):
            await stream.call.write(frame(number))
            result = await stream.result()
            assert not result.HasField("error"), result.error
            assert sum(block.count for block in result.blocks) == 2


async def visit_infer(server: RunningServer, *, token: str = "") -> None:
    """Somebody comes with a request of the open inference protocol, and gets a row for each crop."""
    crops = Tensor.of("image", np.zeros((2, 48, 32, 3), np.uint8))
    metadata = [("authorization", f"Bearer {token}")] if token else None
    async with kserve_stub(server) as stub:
        assert len(rows(await stub.ModelInfer(request(crops), metadata=metadata))) == 2


async def nothing_left(server: RunningServer) -> None:
    """All accounts of the server are empty."""

    def empty() -> bool:
        held, streams = server.runtime.statistics(), server.requests
        frames = held.sessions or held.frames or held.queue_bytes or held.queue_boxes or held.staged_bytes
        answers = held.held_answer_bytes or held.parked_bytes
        return not (frames or answers or (streams is not None and streams.open_streams))

    await until(lambda: empty() and not server.runtime.open_sessions and not server.runtime.track_figures().bytes)
