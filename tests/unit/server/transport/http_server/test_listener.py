"""How many connections the HTTP port takes: a burst at once, then so many a second, whoever else waits."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from contextlib import ExitStack

import pytest

from reidstream_server.transport.addresses import HTTP, listening
from reidstream_server.transport.http_server.listener import AT_ONCE, BURST, PRICE_S, Listener
from tests.support.clock import Clock, settle


class Silent(asyncio.Protocol):
    """A connection that says nothing."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.taken.append(transport)


class Taken(list[asyncio.BaseTransport]):
    """The transports of all connections."""

    def connection(self) -> Silent:
        """The next one."""
        return Silent(self)

    async def close(self) -> None:
        """All of them."""
        for transport in self:
            transport.close()
        await settle()


async def test_beyond_a_burst_connections_come_at_their_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait are taken later, and none is lost. Who has rested may have a burst again."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)  # it stands still, but for the steps below
    clock = Clock(monkeypatch)
    made = Taken()
    taken = listening("127.0.0.1", 0, HTTP, 1024)
    with ExitStack() as stack:
        for _ in range(2 * BURST):
            stack.enter_context(socket.create_connection(taken.getsockname()))
        listener = Listener(taken, made.connection, None)
        await settle()
        assert len(made) == BURST + AT_ONCE
        for step in range(1, 4):
            await clock.turn_on(AT_ONCE * PRICE_S)
            assert len(made) == BURST + (1 + step) * AT_ONCE
        await clock.turn_on(2 * BURST * PRICE_S)
        assert len(made) == 2 * BURST
        await clock.turn_on(2 * BURST * PRICE_S)
        for _ in range(BURST):
            stack.enter_context(socket.create_connection(taken.getsockname()))
        await settle()
        assert len(made) == 3 * BURST
        await listener.close()
        await made.close()


@pytest.mark.parametrize("turns", range(6))
async def test_connections_that_are_being_taken_when_the_port_is_closed_are_known(turns: int) -> None:
    """In whichever turn of the event loop that is. A socket that nobody has closed fails the test."""
    made = Taken()
    taken = listening("127.0.0.1", 0, HTTP, 64)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(taken.getsockname()))
        listener = Listener(taken, made.connection, None)
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.close()
        await made.close()
    del listener, taken
    gc.collect()
