"""Clients and sessions outside their event loop, thread or life: an error with the way out, and nobody waits."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reidstream_client import AsyncReidClient, AsyncSession, ReidClient, SessionEnded, WrongPlace
from reidstream_client.loop_thread import LoopThread
from tests.unit.client.samples import BOX
from tests.unit.client.scripted_server import ScriptedServer


def test_a_second_asyncio_run_needs_a_client_of_its_own(served: ScriptedServer) -> None:
    """Each run has its own event loop; the error says so. Closing the client is still possible."""
    client = AsyncReidClient(served.target)

    async def again() -> None:
        for _ in range(2):
            with pytest.raises(WrongPlace, match=r"within each asyncio\.run, or use ReidClient"):
                await client.ping()
        with pytest.raises(WrongPlace):
            async with client.stream():
                pass
        await client.close()
        with pytest.raises(WrongPlace):
            await client.ping()

    asyncio.run(ask(client))
    asyncio.run(again())


def test_a_client_is_not_for_two_loops_at_a_time(served: ScriptedServer) -> None:
    """Nor may the second one close it. The first one goes on."""

    async def main() -> None:
        async with AsyncReidClient(served.target) as client:
            await ask(client)
            for what in (client.ping, client.close):
                with pytest.raises(WrongPlace):
                    await asyncio.to_thread(in_a_loop, what)
            await ask(client)

    asyncio.run(main())


def test_a_client_may_be_made_before_its_loop(served: ScriptedServer) -> None:
    """It belongs to the loop of its first call, which may be any."""
    client = AsyncReidClient(served.target)

    async def main() -> None:
        async with client:
            await ask(client)

    asyncio.run(main())


async def test_a_session_belongs_to_its_loop(server: ScriptedServer) -> None:
    """Sending to it, or waiting for its answers, from another loop is an error there; the session goes on."""
    async with AsyncReidClient(server.target) as client, client.stream() as session:
        for what in (sending(session), session.__anext__):
            with pytest.raises(WrongPlace, match="a session belongs to the event loop that opened it"):
                await asyncio.to_thread(in_a_loop, what)
        await session.send(b"x", BOX)
        assert (await anext(session)).frame_id == 0


async def test_after_closing_every_use_says_that_the_client_is_closed(server: ScriptedServer) -> None:
    """Also a block that is entered a second time, before anything in it."""
    client = AsyncReidClient(server.target)
    async with client:
        pass
    for use in (client.ping, client.__aenter__, client.stream().__aenter__):
        with pytest.raises(SessionEnded, match="this client is closed: make another one, or close it later"):
            await use()


def test_the_same_without_asyncio(served: ScriptedServer) -> None:
    """And a session is over with its client."""
    client = ReidClient(served.target)
    with client, client.stream() as session:
        client.close()
        uses = (client.ping, client.__enter__, client.stream().__enter__, lambda: session.send(b"x", BOX), session.take)
        for use in uses:
            with pytest.raises(SessionEnded, match="this client is closed"):
                use()


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
def test_a_session_without_its_block_says_how_it_is_written(served: ScriptedServer, kind: str) -> None:
    """Sending to what `stream` gives, or iterating over it, opens nothing. What no session has is unknown as ever."""
    with ReidClient(served.target) as client:
        session: Any = getattr(client, kind)()
        uses: list[Callable[[], object]] = [
            lambda: session.send(b"x", BOX),
            lambda: session.opened,
            lambda: iter(session),
        ]
        for use in uses:
            with pytest.raises(WrongPlace, match=r"not open yet: write with client\.stream\(\.\.\.\) as session:"):
                use()
        with pytest.raises(AttributeError, match="has no attribute 'sent'"):
            session.sent  # noqa: B018
        with session:
            pass
        with pytest.raises(WrongPlace, match=r"entered once: call stream\(\) again"), session:
            pass
    assert len(served.streams) == 1


@pytest.mark.parametrize("kind", ["stream", "resuming_stream"])
async def test_the_same_block_with_asyncio(server: ScriptedServer, kind: str) -> None:
    """It is written with `async with`."""
    async with AsyncReidClient(server.target) as client:
        session: Any = getattr(client, kind)()
        uses: list[Callable[[], object]] = [lambda: session.send(b"x", BOX), lambda: aiter(session)]
        for use in uses:
            with pytest.raises(WrongPlace, match=r"write async with client\.stream\(\.\.\.\) as session:"):
                use()
        with pytest.raises(AttributeError, match="has no attribute 'sent'"):
            session.sent  # noqa: B018
        async with session:
            pass
        with pytest.raises(WrongPlace, match="entered once"):
            await session.__aenter__()


def test_nobody_waits_in_the_clients_own_thread() -> None:
    """There the call would wait for itself. What was not begun leaves no warning behind."""
    thread = LoopThread()

    async def inner() -> None:
        """Never begun."""

    async def outer() -> None:
        with pytest.raises(WrongPlace, match="call it from another one"):
            thread.call(inner())

    thread.call(outer())
    thread.close(Nothing())
    with pytest.raises(SessionEnded):
        thread.call(inner())
    gc.collect()


def test_a_system_without_another_thread_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's end, or where the system allows no more of them."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(WrongPlace, match="a client needs a thread, and there is none: can't start new thread"):
        ReidClient("localhost:50051")


class Nothing:
    async def close(self) -> None:
        """There is nothing to close."""


async def ask(client: AsyncReidClient) -> None:
    assert (await client.info()).model.name == "scripted"


def in_a_loop(what: Any) -> None:
    """Call it in an event loop of this thread."""

    async def main() -> None:
        await what()

    asyncio.run(main())


def sending(session: AsyncSession) -> Any:
    return lambda: session.send(b"x", BOX)
