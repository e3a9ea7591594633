"""The opening message of a stream."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.errors import InvalidCall, TooSlow
from reidstream_server.transport.entrance.receiving import Reception
from reidstream_server.transport.grpc_server.stream_messages import unparsed

Request: TypeAlias = service_pb2.EmbedStreamRequest
Response: TypeAlias = service_pb2.EmbedStreamResponse
StreamContext: TypeAlias = grpc.aio.ServicerContext[Request, Response]


async def opening_message(context: StreamContext, reception: Reception, source: str) -> session_pb2.SessionOpen:
    """The first message. Raises InvalidCall if it is another one, or if none comes in time, and TooManyCalls."""
    try:
        message = await reception.receive(context, source)
    except TooSlow:
        raise InvalidCall(f"no session_open came within {reception.timeout_s:g} s; send it first, at once") from None
    came = unparsed(message)
    if came is not None and came.large:
        size = came.waiting_bytes
        raise InvalidCall(f"the first message has {size} bytes; it must be session_open, which is small")
    first: Request | None = None if came is None else came.read()
    if first is None or not first.HasField("session_open"):
        kind = first.WhichOneof("message") or "empty" if first is not None else "the end of the stream"
        raise InvalidCall(f"the first message is {kind}; it must be session_open")
    return first.session_open
