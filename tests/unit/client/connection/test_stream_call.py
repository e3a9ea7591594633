"""The call below a session, where a version of gRPC might differ from the ones that we know."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from reidstream_client.connection.stream_call import GrpcCall, StreamCall


class OtherCall:
    """A call of a gRPC that has no inner call, as far as writing goes."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.written: list[bytes] = []
        self._failure = failure

    async def wait_for_connection(self) -> None:
        """At once."""

    async def write(self, message: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self.written.append(message)


def stream_call(call: OtherCall) -> StreamCall:
    return StreamCall(cast("GrpcCall", call), target="t", hint="", ended=lambda _: None, closing=asyncio.Event())


async def test_without_an_inner_call_the_public_one_is_used() -> None:
    """Then a failed write may cost the server's status, but frames go out."""
    call = OtherCall()
    assert await stream_call(call).write(b"message")
    assert call.written == [b"message"]


@pytest.mark.parametrize("failure", [asyncio.InvalidStateError("finished")])
async def test_a_call_that_has_ended_takes_no_message(failure: Exception) -> None:
    """That is no error of the writer's: the reader learns how it ended."""
    assert not await stream_call(OtherCall(failure)).write(b"message")
