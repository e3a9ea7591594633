"""What holds an attack, in the server's own accounts: shares, bytes, places, and who pays."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.attacks.attackers import crowding, flooding, holding, parsing
from tests.attacks.attackers.target import Attack
from tests.attacks.short import attempts, nothing_left, under_attack, visit
from tests.support.harness import serving, until

MIB = 2**20
LOUD, QUIET = "loud", "quiet"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Of two clients, `loud` and `quiet`, whose tokens are their names."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in (LOUD, QUIET)))
    return path


@pytest.mark.parametrize("connections", [1, 4])
async def test_one_client_has_at_most_half_of_the_sessions(tokens: Path, connections: int) -> None:
    """However many connections it opens; what it tries beyond that is refused, and another client finds room."""
    attack = partial(crowding.idle_sessions, count=64)
    async with serving(tokens_file=tokens, max_sessions=32) as server, AsyncExitStack() as attacks:
        for _ in range(connections):
            target = await attacks.enter_async_context(under_attack(server, attack, token=LOUD))
        await until(lambda: target.became["ended by the server"] >= 64)
        assert server.runtime.statistics().sessions <= 16
        await visit(server, token=QUIET)


async def test_parked_frames_of_one_client_leave_room_for_those_of_others(tokens: Path) -> None:
    """All bytes that wait for room are counted, and one client has at most half of them."""
    attack = partial(holding.parked_frames, sessions=24, mib=1)
    bounds = {"max_message_bytes": 2 * MIB, "max_queue_bytes": 4 * MIB, "max_window_bytes": 4 * MIB}
    async with serving(tokens_file=tokens, max_parked_bytes=8 * MIB, **bounds) as server:
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, server.runtime.statistics().parked_bytes)
                await asyncio.sleep(0)

        async with under_attack(server, attack, token=LOUD) as target:
            looking = asyncio.create_task(look())
            await attempts(target, 100)
            await visit(server, token=QUIET)
            looking.cancel()
        assert most <= 4 * MIB
        await nothing_left(server)


async def test_a_small_camera_passes_those_that_wait(tokens: Path) -> None:
    """The queue is always full of one client's boxes, and many of its frames wait; the visitor's are let in."""
    attack = partial(flooding.ready_crops, cameras=12, crops=100, crop_bytes=4000)
    bounds = {"max_boxes_per_frame": 100, "max_queue_boxes": 400}
    async with serving(tokens_file=tokens, **bounds) as server, under_attack(server, attack, token=LOUD) as target:
        await attempts(target, 24)
        await until(lambda: server.runtime.statistics().parked_frames > 4)
        assert server.runtime.statistics().queue_boxes <= 400
        await visit(server, frames=5, token=QUIET)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(partial(parsing.gzipped_headers, crops=100, segments=256), id="gzipped-headers"),
        pytest.param(partial(parsing.gzipped_boxes, mib=1), id="gzipped-boxes"),
    ],
)
async def test_a_client_whose_frames_are_refused_pays_for_their_reading(attack: Attack) -> None:
    """It is not read for some time; nobody else is kept waiting."""
    async with (
        serving(accept_compression=True) as server,
        under_attack(server, attack) as target,
    ):
        await attempts(target, 2)
        await until(lambda: server.runtime.statistics().paused_sources == 1)
        await visit(server)
