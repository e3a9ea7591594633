"""The transport's ceiling: a bare grpc.aio server that answers the same requests with answers of the same size.

`python -m bench.ceilings.echo --boxes 8 --dim 64`. It parses each request and serialises each answer, as any server in
Python must, and does nothing between. It writes the same log line as the server, so both are started in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

import grpc

from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2


class Echo:
    """Answers every frame with the same vectors and the frame's id."""

    def __init__(self, boxes: int, dim: int) -> None:
        result = frame_pb2.FrameResult(
            boxes=[
                frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_EMBEDDED, block=0, row=row, quality=0.5)
                for row in range(boxes)
            ],
            timing=frame_pb2.Timing(decoded_ns=1 << 24, sent_ns=1 << 24, batch_sizes=[boxes]),
        )
        result.blocks.add(
            model="echo", version="0" * 12, space_id=f"1:{'0' * 64}", dim=dim, count=boxes, data=bytes(4 * boxes * dim)
        )
        self._answer = service_pb2.EmbedStreamResponse(frame_result=result)

    async def embed_stream(
        self,
        request_iterator: object,
        context: grpc.aio.ServicerContext[service_pb2.EmbedStreamRequest, service_pb2.EmbedStreamResponse],
    ) -> None:
        """One stream."""
        del request_iterator
        while isinstance(request := await context.read(), service_pb2.EmbedStreamRequest):
            if request.HasField("frame"):
                self._answer.frame_result.frame_id = request.frame.frame_id
                await context.write(self._answer)
            else:
                agreed = session_pb2.SharedMemoryAgreed(size_bytes=request.session_open.shared_memory.size_bytes)
                opened = session_pb2.SessionOpened(shared_memory=agreed)
                await context.write(service_pb2.EmbedStreamResponse(session_opened=opened))


async def echo(boxes: int, dim: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    handler = grpc.stream_stream_rpc_method_handler(
        Echo(boxes, dim).embed_stream,
        request_deserializer=service_pb2.EmbedStreamRequest.FromString,
        response_serializer=service_pb2.EmbedStreamResponse.SerializeToString,
    )
    name = service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"EmbedStream": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stderr.write(json.dumps({"event": "serving", "fields": {"address": f"127.0.0.1:{port}"}}) + "\n")
    sys.stderr.flush()
    await stop.wait()
    await server.stop(0)


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bench.ceilings.echo", description="A bare grpc.aio echo.")
    parser.add_argument("--boxes", type=int, required=True)
    parser.add_argument("--dim", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(echo(options.boxes, options.dim))
    return 0


if __name__ == "__main__":
    sys.exit(main())
