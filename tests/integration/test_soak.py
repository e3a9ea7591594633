"""The soak, short: nothing of a stream outlives it, however it ends, on either side."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.soak import run
from bench.soak.book import Book, Budget, SessionBook
from bench.soak.cutter import Cutter
from bench.soak.footprint import footprint_of
from bench.soak.kinds import kinds
from bench.soak.traffic import DrawnSession, Ending, Traffic
from reidstream_client import AsyncReidClient, Ordering, OverloadPolicy, ReidError
from tests.support.harness import JPEG, serving, until
from tests.support.patience import HANG_S
from tests.support.process import server_process

BOXES = [[10, 10, 60, 120]]


def test_a_short_soak_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code says so: descriptors, shared memory, threads, what the server holds, and every frame's answer."""
    monkeypatch.setattr(run, "_QUIET_S", HANG_S)
    output = tmp_path / "soak.json"
    assert main(["soak", "--frames", "2000", "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["missed"] == []
    assert found["frames_answered"]["embedded"] > 100  # some sessions have a budget, which a slow machine exceeds
    assert set(found["sent"]) == {kind.name for kind in kinds()}
    assert {ending.value for ending in Ending} < set(found["sessions"])


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What hangs in a cycle stays, as in a program that makes little garbage."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("resuming", [False, True])
@pytest.mark.parametrize("end", ["finished", "left", "cut"])
async def test_a_session_that_is_over_holds_no_connection(end: str, *, resuming: bool) -> None:
    """Its channel is closed, and that is all it takes: errors and tasks keep no call alive."""
    with server_process() as (server, address):
        pid = server.process.pid
        before = footprint_of(pid).descriptors
        async with Cutter(address) as cutter:
            async with AsyncReidClient(cutter.target) as client:
                opening = client.resuming_stream if resuming else client.stream
                async with opening() as session:
                    for _ in range(5):
                        await session.send(JPEG, BOXES)
                    await anext(session)
                    assert footprint_of(pid).descriptors > before
                    if end == "cut":
                        cutter.cut()
                    if end != "left":
                        await session.finish()
                        try:
                            answers = [result.frame_id async for result in session]
                            assert len(answers) == 4
                        except ReidError as error:
                            assert end == "cut"
                            assert not resuming
                            assert error.unanswered  # noqa: PT017
            await until(lambda: cutter.connections == 0)
        await until(lambda: footprint_of(pid).descriptors <= before)


async def test_the_books_notice_what_must_not_be() -> None:
    """An answer that nobody asked for, another outcome than the kind's, and other vectors than before."""
    kind = next(kind for kind in kinds() if kind.name == "JPEG")
    other = next(kind for kind in kinds() if kind.name == "WebP")
    async with serving() as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        first, second = await client.embed(kind.image, kind.boxes), await client.embed(other.image, other.boxes)
        bad = await client.embed(kind.image, [[900, 900, 950, 950]] * 3)
    book = Book()
    session = SessionBook(book, Budget(9))
    for result in (first, second, bad):
        session.sent(0, kind)
        session.answered(result)
    session.answered(first)
    session.over((7,))
    assert book.faults[0].startswith("JPEG: other vectors than before")
    assert book.faults[1] == "JPEG: answered ['OUTSIDE_FRAME', 'OUTSIDE_FRAME', 'OUTSIDE_FRAME']"
    assert book.faults[2] == "frame 0 was answered twice, or never sent"
    assert book.faults[3] == "0 frames open at the end, 1 said to be without an answer"


async def test_a_session_of_a_soak_ends_as_planned() -> None:
    """One of each ending: every frame has an answer or was given up with its stream."""
    with server_process() as (_, address):
        traffic = Traffic(address, kinds(), cameras=1, seed=0)
        answered, numbers = traffic.book.frames_answered, count()
        while not answered["given up with their stream"]:  # a session may be left when all it has sent is answered
            for ending in Ending:
                drawn = DrawnSession(
                    number=next(numbers),
                    frames=40,
                    window=4,
                    policy=OverloadPolicy.WAIT,
                    ordering=Ordering.IN_ORDER,
                    ending=ending,
                    shared=True,
                    budget_s=None,
                )
                await traffic.session(drawn, SessionBook(traffic.book, Budget(40)))
                await asyncio.sleep(0)
    assert traffic.book.faults == []
    assert traffic.book.sent.total() == answered.total()


async def test_a_connection_that_is_slow_to_come_is_waited_for() -> None:
    """A network may take a while for a handshake; a second attempt beside the first would take as long."""
    attempts = 0
    second = asyncio.Event()

    async def slowly() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            second.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(second.wait(), 0.5)

    with server_process() as (_, address):
        async with Cutter(address, slowly) as slow, AsyncReidClient(slow.target) as client:
            assert (await client.embed(JPEG, BOXES)).valid.all()
    assert attempts == 1
