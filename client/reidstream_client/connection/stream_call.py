"""The EmbedStream call of `grpc.aio`, as a session needs it: bytes out, messages in, the server's status at the end.

Trap: if the server ends a call while we write, `grpc.aio`'s own `write` replaces the server's status by an "internal
error" and drops the messages that were not read yet. Answers would be lost, and "not ready, come back" would look like
a crash. So messages go to the layer below, where a failed send is only a failed send, and the reader alone learns how
the call ended.

A second trap: a call keeps its connection open, even when the channel is closed, and an exception keeps the call alive
through its traceback. So a cancelled call drops its reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import grpc.aio
from typing_extensions import override

from reidstream_client.errors import SessionEnded, from_status
from reidstream_proto.v1 import service_pb2

from .protocols import Call

GrpcCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, service_pb2.EmbedStreamResponse]"


class StreamCall(Call):
    """A call of `grpc.aio`. `hint`: what to check where nobody answers. `ended`: told when the call is let go."""

    def __init__(self, call: GrpcCall, *, target: str, hint: str, ended: Callable[[GrpcCall], None]) -> None:
        self._target = target
        self._hint = hint
        self._call: GrpcCall | None = call
        self._ended = ended

    @property
    @override
    def target(self) -> str:
        return self._target

    @override
    async def write(self, message: bytes) -> bool:
        call = self._call
        if call is None:
            return False
        try:
            await call.wait_for_connection()
            below = getattr(call, "_cython_call", None)
            await (call.write(message) if below is None else below.send_serialized_message(message))
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            return False
        return True

    @override
    async def done_writing(self) -> None:
        try:
            if self._call is not None:
                await self._call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.InternalError):
            return  # the call has ended

    @override
    async def read(self) -> service_pb2.EmbedStreamResponse | None:
        if self._call is None:
            raise SessionEnded(f"{self.target}: the call was cancelled")
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            failure = from_status(error, target=self.target, hint=self._hint)
        else:
            return message if isinstance(message, service_pb2.EmbedStreamResponse) else None
        raise failure  # out here, or its context would be gRPC's error, which keeps the call alive

    @override
    def cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._ended(call)
