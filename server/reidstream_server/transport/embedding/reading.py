"""The opening message of a stream."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.errors import InvalidCall, TooSlow
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.grpc_server.stream_messages import unparsed
from reidstream_server.transport.grpc_server.unparsable import Unparsed

Request: TypeAlias = service_pb2.EmbedStreamRequest
Response: TypeAlias = service_pb2.EmbedStreamResponse
StreamContext: TypeAlias = grpc.aio.ServicerContext[Request, Response]


async def opening_message(context: StreamContext, reception: Reception, source: str) -> Unparsed[Request]:
    """The first message. Raises InvalidCall if none comes in time, and TooManyCalls."""
    try:
        message = await reception.receive(context, source)
    except TooSlow:
        raise InvalidCall(f"no session_open came within {reception.timeout_s:g} s; send it first, at once") from None
    came = unparsed(message)
    if came is None:
        raise InvalidCall("the first message is the end of the stream; it must be session_open")
    return came


def opening_of(came: Unparsed[Request]) -> session_pb2.SessionOpen:
    """What the first message opens. It is large only with many tracks. Any thread. Raises InvalidCall."""
    first = came.read()
    if not first.HasField("session_open"):
        raise InvalidCall(f"the first message is {first.WhichOneof('message') or 'empty'}; it must be session_open")
    return first.session_open
