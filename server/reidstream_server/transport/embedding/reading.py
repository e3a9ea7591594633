"""A stream's messages, one at a time: the opening, and then whatever comes.

Trap: a message is parsed when it is its session's turn, not when it comes (see `unparsable`). What a read returns
that is no message and not the end of the stream is none of ours.
"""

from __future__ import annotations

from typing import TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.errors import InvalidCall, TooSlow
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.grpc_server.unparsable import NO_MESSAGE, Unparsed

Request: TypeAlias = service_pb2.EmbedStreamRequest
Response: TypeAlias = service_pb2.EmbedStreamResponse
StreamContext: TypeAlias = grpc.aio.ServicerContext[Request, Response]


async def opening_message(context: StreamContext, reception: Reception, source: str) -> session_pb2.SessionOpen:
    """The first message. Raises InvalidCall if it is another one, or if none comes in time, and TooManyCalls."""
    try:
        message = await reception.receive(context, source)
    except TooSlow:
        raise InvalidCall(f"no session_open came within {reception.timeout_s:g} s; send it first, at once") from None
    unparsed = _unparsed(message)
    if unparsed is not None and unparsed.large:
        size = unparsed.waiting_bytes
        raise InvalidCall(f"the first message has {size} bytes; it must be session_open, which is small")
    first = None if unparsed is None else unparsed.read()
    if first is None or not first.HasField("session_open"):
        kind = first.WhichOneof("message") or "empty" if first is not None else "the end of the stream"
        raise InvalidCall(f"the first message is {kind}; it must be session_open")
    return first.session_open


async def next_message(context: StreamContext) -> Unparsed[Request] | None:
    """The next message; None when the client has half-closed."""
    return _unparsed(await context.read())


def _unparsed(message: object) -> Unparsed[Request] | None:
    if message is grpc.aio.EOF:
        return None
    if not isinstance(message, Unparsed):
        raise InvalidCall(NO_MESSAGE)
    return message
