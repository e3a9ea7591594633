"""A camera on a bare stream, which sends ready bytes: in bursts, or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass

import grpc

from bench.load.generator import METHOD, Call, LoadFailed
from bench.load.pictures import numbered
from reidstream_proto.v1 import service_pb2, session_pb2


@dataclass(slots=True)
class Camera:
    """`message`: a frame without a frame_id. `window`: frames without an answer."""

    call: Call
    message: bytes = b""
    window: int = 1
    number: int = 0

    async def open(self) -> None:
        """Open the session. Raises LoadFailed, AioRpcError."""
        opening = session_pb2.SessionOpen(session_id=os.urandom(16))
        opening.options.camera_id = "bench"
        opening.window.frames = self.window
        await self.call.write(service_pb2.EmbedStreamRequest(session_open=opening).SerializeToString())
        await self._read()

    async def burst(self, frames: int) -> None:
        """Send so many frames, a window of them at a time, and take all answers. Raises LoadFailed, AioRpcError."""
        for sent in range(frames + self.window):
            if sent >= self.window:
                result = (await self._read()).frame_result
                if result.HasField("error"):
                    raise LoadFailed(f"frame {result.frame_id}: {result.error.message}")
            if sent < frames:
                self.number += 1
                await self.call.write(numbered(self.message, self.number))

    async def _read(self) -> service_pb2.EmbedStreamResponse:
        answer: object = await self.call.read()
        if not isinstance(answer, service_pb2.EmbedStreamResponse):
            raise LoadFailed("the server ended a stream before its time")
        return answer


def connection_to(address: str) -> grpc.aio.Channel:
    """One of its own, as cameras have."""
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def stream_on(channel: grpc.aio.Channel) -> Call:
    """An EmbedStream call that is given ready bytes."""
    return channel.stream_stream(METHOD, response_deserializer=service_pb2.EmbedStreamResponse.FromString)()
