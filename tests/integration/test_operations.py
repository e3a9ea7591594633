"""What operators rely on: the log of sessions, health and reflection."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_proto.v1 import service_pb2, session_pb2
from tests.support.harness import frame, opening, serving, stream_to, until

HOUR_MS = 3_600_000


def ended(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The fields of every `session_ended` so far, without how long it took."""
    records = [vars(record) for record in caplog.records if record.msg == "session_ended"]
    return [{k: v for k, v in record["reidstream_fields"].items() if k != "seconds"} for record in records]


@pytest.mark.parametrize("end", ["finished", "closed", "vanished", "drained", "taken_over", "invalid_call"])
async def test_the_log_says_how_each_session_ended(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """With the names that its opening had, and what became of its frames."""
    caplog.set_level(logging.INFO)
    session_id = b"s" * 16
    late, broken = frame(2), frame(3, image=b"no image")
    late.frame.age_ns = HOUR_MS * 1_000_000 + 1
    async with serving() as server, stream_to(server) as stream, stream_to(server) as other:
        await stream.open(session_id=session_id, camera_id="gate", latency_budget_ms=HOUR_MS)
        for message in (frame(1), late, broken):
            await stream.call.write(message)
            await stream.result()
        (session,) = server.runtime.sessions()
        await until(lambda: session.counters.faults.total() == 2)  # a client may read faster than the server counts
        match end:
            case "finished":
                await stream.call.done_writing()
            case "closed":
                await stream.call.write(service_pb2.EmbedStreamRequest(close=session_pb2.Close()))
            case "vanished":
                stream.call.cancel()
            case "drained":
                await server.drain()
            case "taken_over":
                await other.open(session_id=session_id, epoch=1)
            case _:
                await stream.call.write(opening())
        await until(lambda: ended(caplog))
        assert ended(caplog)[0] == {
            "client": "",
            "camera_id": "gate",
            "epoch": 0,
            "cause": end,
            "answered": 1,
            "given_up": 1,
            "failed": 1,
            "over_budget": 1,
            "invalid_image": 1,
        }


async def test_health_tells_of_the_process_the_service_and_each_model() -> None:
    """SERVING while frames are taken, NOT_SERVING to watchers as soon as the drain begins."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "reidstream.v1.EmbeddingService", "fake"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(server.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await draining


async def test_reflection_lists_the_services() -> None:
    """A generic client can find out what is here."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        names = {service.name for service in answer.list_services_response.service}
        call.cancel()
    assert "reidstream.v1.EmbeddingService" in names
