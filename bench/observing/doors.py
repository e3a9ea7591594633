"""One server with a door for each way to trace: `python -m bench.observing.doors --endpoint http://host:4317`.

Why one process: two servers that do the same differ by some per cent all their lives, by where things lie in memory.
Here all ways share the code, the runtime and the engine, which costs nothing; only the tracer is another one.

Trap: spans are sent later than their frames. So there is one more method, `SETTLE`: it answers when no span waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from enum import Enum

import grpc

from bench.ceilings.instant import InstantEngine
from reidstream_engines.cpu.stager import CpuStager
from reidstream_server.config import load_config
from reidstream_server.doors import embedding_service, grpc_door
from reidstream_server.loading import Engines
from reidstream_server.logs import configure, get_logger
from reidstream_server.memory.collector import leave_out_what_is_there
from reidstream_server.parts import running_parts
from reidstream_server.tracing.export import ExportQueue
from reidstream_server.tracing.frames import SamplingTracer
from reidstream_server.tracing.otlp import OtlpExporter
from reidstream_server.tracing.sampling import Sampler

log = get_logger(__name__)

SETTLE = "/bench.Doors/Settle"
_DELAY_S = 1.0
_LOOK_S = 0.1  # a look computes too, and counts for the burst before it


class Way(Enum):
    """Which share of the frames is traced; None: there is no tracer. OFF and AGAIN differ in nothing."""

    OFF = "off"
    AGAIN = "off, once more"
    NONE = "0 %"
    SOME = "1 %"
    ALL = "100 %"

    @property
    def share(self) -> float | None:
        """Of 1."""
        return {Way.NONE: 0.0, Way.SOME: 0.01, Way.ALL: 1.0}.get(self)


async def serve(endpoint: str) -> None:
    """Serve until cancelled. The log line `serving` has all addresses: those of the doors, in order, then SETTLE's."""
    config = load_config(["--port", "0", "--no-metrics-enabled"], {})
    engines = Engines(engines=(InstantEngine(),), stager=CpuStager())
    with ExitStack() as stack:
        tracers = {way: _tracer(share, endpoint) for way in Way if (share := way.share) is not None}
        for tracer in tracers.values():
            stack.callback(tracer.queue.close)
        async with running_parts(config, engines) as parts:
            doors = [
                grpc_door(parts, [embedding_service(replace(parts, tracer=tracers.get(way))).hosted]) for way in Way
            ]
            ports = [await door.listen() for door in doors]
            for door in doors:
                await door.serve()
            async with _settling([tracer.queue for tracer in tracers.values()]) as settling:
                leave_out_what_is_there()
                log.info("serving", address=",".join(f"127.0.0.1:{port}" for port in (*ports, settling)))
                await asyncio.Event().wait()


def _tracer(share: float, endpoint: str) -> SamplingTracer:
    return SamplingTracer(Sampler(ratio=share), ExportQueue(OtlpExporter(endpoint), delay_s=_DELAY_S))


@asynccontextmanager
async def _settling(queues: Sequence[ExportQueue]) -> AsyncIterator[int]:
    """SETTLE is served; its port."""

    async def settle(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        del context
        while any(queue.unsent for queue in queues):  # noqa: ASYNC110 - other threads send, and set no event of ours
            await asyncio.sleep(_LOOK_S)
        return request

    server = grpc.aio.server()
    service, _, method = SETTLE.removeprefix("/").partition("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(settle)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bench.observing.doors", description=__doc__)
    parser.add_argument("--endpoint", required=True)
    options = parser.parse_args()
    config = load_config(["--log-format", "json"], os.environ)
    configure(config.log.log_level, config.log.log_format)
    asyncio.run(serve(options.endpoint))
    return 0


if __name__ == "__main__":
    sys.exit(main())
