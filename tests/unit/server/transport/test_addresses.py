"""Ports that asyncio serves: what was taken is closed, whenever the port is."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import ExitStack

import pytest

from reidstream_server.transport.addresses import HTTP, listening, stop_listening


@pytest.mark.parametrize("turns", range(6))
async def test_connections_that_are_being_taken_when_a_port_is_closed_are_closed(turns: int) -> None:
    """In whichever turn of the event loop that is. A socket that nobody has closed fails the test."""
    taken = listening("127.0.0.1", 0, HTTP, 64)
    connected: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, sock=taken, backlog=64)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(taken.getsockname()))
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop_listening(server, taken)
        for writer in connected:
            writer.close()
            await writer.wait_closed()
    del server, taken
    gc.collect()
