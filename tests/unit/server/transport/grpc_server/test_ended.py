"""How calls end, as it is counted: each once, under its method and status, whoever has ended it."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reidstream_engines.fake import FakeEngine, FakeScript
from reidstream_proto.v1 import service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.transport.grpc_server.server import GrpcServer
from tests.support.gate import Gate
from tests.support.harness import frame, opening, serving, stream_to, stub_of, until

EMBEDDING = "reidstream.v1.EmbeddingService"
OPTIONS = session_pb2.EmbedOptions(camera_id="c")


def counts(server: RunningServer) -> Mapping[tuple[str, str], int]:
    door = server.doors[0]
    assert isinstance(door, GrpcServer)
    return door.ended.counts


def ended(server: RunningServer) -> dict[tuple[str, str], int]:
    """Without the zeros, and without the service's name."""
    return {
        (method.removeprefix(f"{EMBEDDING}/"), status): count
        for (method, status), count in counts(server).items()
        if count
    }


async def test_streams_are_counted_when_they_end() -> None:
    """By their client, by a fault of it, or because it left."""
    async with serving() as server:
        async with stream_to(server) as stream:
            await stream.open()
            await until(lambda: server.runtime.open_sessions == 1)
            assert ended(server) == {}
            await stream.call.done_writing()
            assert await stream.results() == []
        async with stream_to(server) as stream:
            await stream.call.write(frame(1))
            await stream.refusal()
        async with stream_to(server) as stream:
            await stream.call.write(opening())
            await stream.read()
            stream.call.cancel()
        await until(lambda: len(ended(server)) == 3)
        assert ended(server) == {
            ("EmbedStream", "OK"): 1,
            ("EmbedStream", "INVALID_ARGUMENT"): 1,
            ("EmbedStream", "CANCELLED"): 1,
        }


async def test_single_calls_are_counted_by_their_status() -> None:
    """A frame's fault is a status there; an internal error is one, too."""
    async with serving(FakeEngine(script=FakeScript(failing_batches=frozenset({0, 1, 2})))) as server:
        async with stub_of(server.port) as stub:
            await stub.ListModels(service_pb2.ListModelsRequest())
            for call in (
                stub.GetModel(service_pb2.GetModelRequest(name="nobody")),
                stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1, image=b"no image").frame)),
                stub.Embed(service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1).frame)),
            ):
                await call.code()
        await until(lambda: sum(ended(server).values()) == 4)
        assert ended(server) == {
            ("ListModels", "OK"): 1,
            ("GetModel", "NOT_FOUND"): 1,
            ("Embed", "INVALID_ARGUMENT"): 1,
            ("Embed", "OK"): 1,
        }


async def test_a_caller_that_gives_up_is_counted_as_cancelled() -> None:
    """Also if its deadline has passed: the server hears only that it is gone."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine) as server, stub_of(server.port) as stub:
        request = service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1).frame)
        call = stub.Embed(request)
        await until(lambda: gate.entered == 1)
        call.cancel()
        await until(lambda: ended(server))
        gate.opened.set()
        assert ended(server) == {("Embed", "CANCELLED"): 1}


async def test_nobody_makes_new_names() -> None:
    """Health and reflection are one name each; whatever is not offered shares one."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        before = set(counts(server))
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        for number in range(20):
            unknown: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/made.up/M{number}")
            assert await unknown(b"").code() == grpc.StatusCode.UNIMPLEMENTED
        await until(lambda: sum(ended(server).values()) == 21)
        assert ended(server) == {("grpc.health.v1.Health", "OK"): 1, ("other", "UNIMPLEMENTED"): 20}
        assert set(counts(server)) == before
