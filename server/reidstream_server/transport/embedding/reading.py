"""A stream's messages, one at a time: the opening, and then whatever comes.

A message comes in two steps: gRPC has received it whole, and gRPC joins its parts. The second takes the event loop 20
to 80 ms for 60 MiB, in one go, so it must be possible to wait between the two (`apart`).

Traps: a message is parsed when it is its session's turn, not when it comes (see `unparsable`). What a read returns that
is no message and not the end of the stream is none of ours. And gRPC lets go of a message that is whole only when it is
joined: one that nobody wants any more must be joined all the same, or its bytes stay for ever.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.errors import InvalidCall, TooSlow
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.grpc_server.unparsable import NO_MESSAGE, Unparsed

Request: TypeAlias = service_pb2.EmbedStreamRequest
Response: TypeAlias = service_pb2.EmbedStreamResponse
StreamContext: TypeAlias = grpc.aio.ServicerContext[Request, Response]


async def opening_message(context: StreamContext, reception: Reception, source: str) -> Unparsed[Request]:
    """The first message. Raises InvalidCall if none comes in time, and TooManyCalls."""
    try:
        message = await reception.receive(context, source)
    except TooSlow:
        raise InvalidCall(f"no session_open came within {reception.timeout_s:g} s; send it first, at once") from None
    unparsed = _unparsed(message)
    if unparsed is None:
        raise InvalidCall("the first message is the end of the stream; it must be session_open")
    return unparsed


def opening_of(unparsed: Unparsed[Request]) -> session_pb2.SessionOpen:
    """What the first message opens. It is large only with many tracks. Any thread. Raises InvalidCall."""
    first = unparsed.read()
    if not first.HasField("session_open"):
        raise InvalidCall(f"the first message is {first.WhichOneof('message') or 'empty'}; it must be session_open")
    return first.session_open


class Readable(Protocol):
    """What is needed of a gRPC context."""

    def read(self) -> Any:  # noqa: ANN401 - a coroutine of gRPC's
        """The next message, or `grpc.aio.EOF`."""
        ...


class Arriving:
    """The next message of a stream. Await it, and it is whole; then `joined`, once."""

    __slots__ = ("_steps", "is_joined")

    def __init__(self, context: Readable) -> None:
        self._steps: Generator[Any, Any, object] = context.read().__await__()
        self.is_joined = False

    def __await__(self) -> Generator[object, None, None]:
        """The first step: what gRPC waits for is the message."""
        try:
            waited_for = self._steps.send(None)
        except StopIteration as end:
            self._steps = _returning(end.value)
            return
        try:
            yield waited_for
        except BaseException as error:  # its call is over, perhaps; it has brought nothing
            self.is_joined = True
            self._steps.throw(error)
            raise

    async def joined(self) -> Unparsed[Request] | None:
        """The message; None when the client has half-closed. It comes at once."""
        self.is_joined = True
        return _unparsed(await _Rest(self._steps))


class _Rest:
    """What is left to do of a coroutine."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, object]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, object]:
        return (yield from self._steps)


def _returning(value: object) -> Generator[Any, Any, object]:
    """What is left of a coroutine that had nothing to wait for."""
    yield from ()
    return value


def _unparsed(message: object) -> Unparsed[Request] | None:
    if message is grpc.aio.EOF:
        return None
    if not isinstance(message, Unparsed):
        raise InvalidCall(NO_MESSAGE)
    return message
