"""A message is written within a time, and a call that is to end while it is written ends."""

from __future__ import annotations

import asyncio

import pytest

from reidstream_server.transport.grpc_server.calls import written


class Client:
    """Takes a message when it is told to."""

    def __init__(self) -> None:
        self.takes: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def write(self, message: object) -> None:
        del message
        await self.takes


async def test_a_message_that_is_taken_is_written() -> None:
    """And nothing else happens."""
    client = Client()
    client.takes.set_result(None)
    await written(client, b"", 3600.0)


async def test_a_client_that_does_not_take_it_is_treated_as_gone() -> None:
    """Its call is hung up."""
    with pytest.raises(asyncio.CancelledError, match="the client is gone"):
        await written(Client(), b"", 0.01)


async def test_a_call_that_is_ended_just_when_it_has_written_ends() -> None:
    """The cancellation is not lost in the moment between the write's end and the handler's next step."""
    client = Client()
    handler = asyncio.ensure_future(written(client, b"", 3600.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    client.takes.set_result(None)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
