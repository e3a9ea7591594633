"""The EmbedStream call of `grpc.aio`, as a session needs it: bytes out, messages in, the server's status at the end.

Trap: if the server ends a call while we write, `grpc.aio`'s own `write` replaces the server's status by an "internal
error" and drops the messages that were not read yet. Answers would be lost, and "not ready, come back" would look like
a crash. So messages go to the layer below, where a failed send is only a failed send, and the reader alone learns how
the call ended.

Trap: a call that is cancelled before it has a connection never ends gRPC's own wait for one. So whoever opens a stream
while the client is closed would wait for its time-out: the wait here ends with the client too.

Trap: a call keeps its connection open, even when the channel is closed, and an exception keeps the call alive
through its traceback. So a cancelled call drops its reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import grpc.aio
from typing_extensions import override

from reidstream_client.errors import ReidError, SessionEnded, from_status
from reidstream_proto.v1 import service_pb2

from .protocols import Call

GrpcCall: TypeAlias = "grpc.aio.StreamStreamCall[bytes, service_pb2.EmbedStreamResponse]"


class StreamCall(Call):
    """A call of `grpc.aio`. `hint`: what to check where nobody answers. `ended`: told when the call is let go.

    `closing`: the client is closed, and its calls are over.
    """

    def __init__(
        self,
        call: GrpcCall,
        *,
        target: str,
        hint: str,
        ended: Callable[[GrpcCall], None],
        closing: asyncio.Event,
    ) -> None:
        self._target = target
        self._hint = hint
        self._closing = closing
        self._connected = False
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
            if not self._connected:
                await self._connection_or_closing(call)
                self._connected = True
            if self._closing.is_set():
                return False
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
        failure: ReidError
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            failure = from_status(error, target=self.target, hint=self._hint)
        except asyncio.CancelledError:
            if not self._closing.is_set():
                raise
            failure = SessionEnded(f"{self.target}: this client was closed")  # which cancels its calls
        else:
            return message if isinstance(message, service_pb2.EmbedStreamResponse) else None
        raise failure  # out here, or its context would be gRPC's error, which keeps the call alive

    @override
    def cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._ended(call)

    async def _connection_or_closing(self, call: GrpcCall) -> None:
        waits = [asyncio.ensure_future(wait) for wait in (call.wait_for_connection(), self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)  # a call's end is looked for again, by who called
