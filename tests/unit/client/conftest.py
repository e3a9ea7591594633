"""A scripted server on a real socket, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from reidstream_client.loop_thread import LoopThread
from tests.unit.client.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Serves rightly until a test gives it another script."""
    async with ScriptedServer().running() as running:
        yield running


@pytest.fixture
def served() -> Iterator[ScriptedServer]:
    """The same in a thread of its own, for tests that block."""
    server = ScriptedServer()
    thread = LoopThread()
    context = server.running()
    thread.call(context.__aenter__())
    yield server
    thread.call(context.__aexit__(None, None, None))
    thread.close(_Nothing())


class _Nothing:
    async def close(self) -> None:
        """There is nothing to close."""
