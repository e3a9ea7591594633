"""The product's client against the real server: every policy, drains, old and new environments."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    ErrorReason,
    FrameEmbeddings,
    OverloadPolicy,
    ReidClient,
    SessionDrained,
    SpaceMismatch,
)
from reidstream_engines.fake import FakeEngine, FakeScript
from tests.support.harness import JPEG, picture, real_engine, serving
from tests.support.process import server_process

ROOT = Path(__file__).parents[2]
BOXES = np.array([[10, 10, 60, 120], [100, 20, 160, 200]], np.float32)


@pytest.mark.parametrize("policy", OverloadPolicy)
async def test_a_thousand_frames_come_back_in_order_each_exactly_once(policy: OverloadPolicy) -> None:
    """Whatever the policy gives up is answered in its place."""
    engine = FakeEngine(script=FakeScript(seconds_per_batch=0.0005))
    async with (
        serving(engine) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.stream(overload_policy=policy, window_frames=8) as session,
    ):
        results: list[FrameEmbeddings] = []

        async def receive() -> None:
            results.extend([result async for result in session])

        receiving = asyncio.create_task(receive())
        sent = [await session.send(JPEG, BOXES) for _ in range(1000)]
        await session.finish()
        await receiving
    assert [result.frame_id for result in results] == sent
    given_up = Counter(result.error.reason for result in results if result.error is not None)
    allowed = {
        OverloadPolicy.WAIT: set[ErrorReason](),
        OverloadPolicy.DROP_OLDEST: {ErrorReason.DROPPED},
        OverloadPolicy.REJECT: {ErrorReason.WINDOW_FULL},
    }
    assert set(given_up) <= allowed[policy]
    assert sum(result.error is None and result.valid.all() for result in results) + sum(given_up.values()) == 1000
    assert sum(given_up.values()) < 1000


async def test_unary_and_stream_give_the_same_vectors() -> None:
    """One frame at a time, or many in flight."""
    async with serving(real_engine()) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        single = await client.embed(JPEG, BOXES)
        async with client.stream() as session:
            await session.send(JPEG, BOXES)
            await session.finish()
            streamed = [result async for result in session]
    np.testing.assert_allclose(streamed[0].embeddings, single.embeddings, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(single.embeddings, axis=1), 1.0, atol=1e-5)


async def test_a_drain_delivers_what_was_accepted_and_names_the_rest() -> None:
    """Every frame that was sent is either answered or named by SessionDrained."""
    answered: list[int] = []

    async def take_all(session: AsyncSession) -> None:
        async for result in session:
            answered.append(result.frame_id)  # noqa: PERF401 - what came before the end must be kept

    async with (
        serving() as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.stream(window_frames=8) as session,
    ):
        sent = [await session.send(JPEG, BOXES) for _ in range(5)]
        answered.append((await anext(session)).frame_id)
        draining = asyncio.create_task(server.drain())
        with pytest.raises(SessionDrained) as caught:
            await take_all(session)
        await draining
    assert sorted([*answered, *caught.value.unanswered]) == sent


def test_the_wrong_space_is_refused() -> None:
    """Before any vector is compared with those of another space."""
    with (
        server_process() as (_, address),
        ReidClient(address, expected_space_id="1:" + "0" * 64) as client,
        pytest.raises(SpaceMismatch, match="1:0000"),
    ):
        client.embed(picture(), BOXES)


SCRIPT = """
import sys
import warnings
warnings.simplefilter("error")
import google.protobuf, grpc, numpy as np
from reidstream_client import ReidClient
image = np.zeros((240, 320, 3), np.uint8)
image[40:200, 50:110] = (30, 90, 200)
boxes = [[40, 30, 120, 210], [5, 5, 5, 5]]
with ReidClient(sys.argv[1]) as client:
    single = client.embed(image, boxes)
    with client.stream() as session:
        for _ in range(20):
            session.send(image, boxes)
        session.finish()
        results = list(session)
    print(client.info().model.name)
assert single.valid.tolist() == [True, False], single
assert [r.frame_id for r in results] == sorted(r.frame_id for r in results) and len(results) == 20
assert all(abs(r.embeddings[0] @ single.embeddings[0] - 1) < 1e-5 for r in results)
print(sys.version_info[:2], google.protobuf.__version__, grpc.__version__, np.__version__)
"""


@pytest.mark.parametrize(
    ("environment", "protobuf"),
    [
        pytest.param("oldest", "6.31", marks=pytest.mark.needs("oldest-client")),
        pytest.param("newest", "7.", marks=pytest.mark.needs("newest-client")),
    ],
)
def test_the_client_runs_on_its_oldest_and_newest_versions(environment: str, protobuf: str) -> None:
    """Python 3.10 and protobuf 6.31; protobuf 7. Without a warning."""
    python = ROOT / f".venv-{environment}/bin/python"
    with server_process() as (_, address):
        done = subprocess.run([python, "-c", SCRIPT, address], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert protobuf in done.stdout
