"""An iteration for which nobody will send: the log says once that `finish` is missing, and nothing else changes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from reidstream_client import AsyncReidClient, ReidClient
from reidstream_client.session import inbox
from tests.support.patience import wait_until
from tests.unit.client.samples import BOX
from tests.unit.client.scripted_server import ScriptedServer


class Heard(logging.Handler):
    """What the client's log says, as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.something = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.something.set()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """With a silence that is over at once."""
    monkeypatch.setattr(inbox, "SILENCE_S", 0.0)
    handler = Heard()
    inbox.LOG.addHandler(handler)
    yield handler
    inbox.LOG.removeHandler(handler)


async def test_whoever_sends_and_then_waits_is_told(server: ScriptedServer, heard: Heard) -> None:
    """Once, and by the log: another task may still finish, as here."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:

        async def finish_when_told() -> None:
            await asyncio.to_thread(wait_until, heard.something.is_set)
            await asyncio.sleep(0.01)
            await session.finish()

        finishing = asyncio.create_task(finish_when_told())
        await session.send(b"x", BOX)
        await session.send(b"x", BOX)
        assert [answer.frame_id async for answer in session] == [0, 1]
        await finishing
    assert len(heard.lines) == 1
    assert "if you send no more, call finish() before you iterate" in heard.lines[0]


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
def test_the_same_without_asyncio(served: ScriptedServer, heard: Heard, kind: str) -> None:
    """Where each call is a task of its own, the caller's thread counts. Who feeds a resumed stream does not."""
    with ReidClient(served.target) as client, getattr(client, kind)() as session, ThreadPoolExecutor(1) as pool:

        def finish_when_told() -> None:
            wait_until(heard.something.is_set)
            session.finish()

        finishing = pool.submit(finish_when_told)
        session.send(b"x", BOX)
        assert [answer.frame_id for answer in session] == [0]
        finishing.result()
    assert len(heard.lines) == 1


def test_two_threads_are_left_alone(served: ScriptedServer, heard: Heard) -> None:
    """One iterates, and another one sends when it likes, although the first one once sent a frame as well."""
    with ReidClient(served.target) as client, client.resuming_stream() as session, ThreadPoolExecutor(1) as pool:
        session.send(b"x", BOX)
        assert next(session).frame_id == 0
        waiting = pool.submit(lambda: list(session))
        session.send(b"x", BOX)
        wait_until(lambda: session.statistics().window_frames == 0)
        session.finish()
        assert [answer.frame_id for answer in waiting.result()] == [1]
    assert heard.lines == []


async def test_a_reader_beside_a_sender_is_left_alone(server: ScriptedServer, heard: Heard) -> None:
    """A camera may be silent for hours. Nor is it said before a frame was sent, or while an answer is due."""
    answers = 0
    async with AsyncReidClient(server.target) as client, client.stream() as session:

        async def read() -> None:
            nonlocal answers
            async for _ in session:
                answers += 1

        def all_read(sent: int) -> bool:
            return answers == sent

        reading = asyncio.create_task(read())
        for sent in range(1, 4):
            await session.send(b"x", BOX)
            await asyncio.to_thread(wait_until, partial(all_read, sent))
            await asyncio.sleep(0.01)
        await session.finish()
        await reading
    assert heard.lines == []


async def test_an_answer_that_is_late_is_no_missing_finish(server: ScriptedServer, heard: Heard) -> None:
    """The session's own time-out is for that."""
    go = asyncio.Event()

    async def late(stream: object) -> None:
        await stream.opened()  # type: ignore[attr-defined]
        (frame,) = await stream.take(1)  # type: ignore[attr-defined]
        await go.wait()
        await stream.answer(frame)  # type: ignore[attr-defined]

    server.on_stream = late
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        await session.send(b"x", BOX)
        asyncio.get_running_loop().call_later(0.02, go.set)
        assert (await anext(session)).frame_id == 0
    assert heard.lines == []
