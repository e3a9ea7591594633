"""How long calls took, as OpenTelemetry's conventions have it: `--rpc-metrics`, on a real port."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_proto.admin.v1 import admin_pb2, admin_pb2_grpc
from reidstream_proto.v1 import service_pb2, service_pb2_grpc
from reidstream_server.app import RunningServer
from reidstream_server.metrics.rpc import SECONDS_BUCKETS
from reidstream_server.transport.grpc_server.server import GrpcServer
from tests.support.harness import frame, serving, stream_to, until

from .test_metrics import scrape, series_of

NAME = "rpc_server_call_duration_seconds"
EMBEDDING, ADMIN = "reidstream.v1.EmbeddingService", "reidstream.admin.v1.AdminService"
HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"


async def durations(server: RunningServer, field: str = "count") -> dict[tuple[str, str, str], float]:
    """By method, status and error, of the calls that there were."""
    found = {}
    for name, value in series_of(await scrape(server)).items():
        if name.startswith(f"{NAME}_{field}{{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            assert set(labels) == {"rpc_system_name", "rpc_method", "rpc_status_code", "error_type"}
            assert labels["rpc_system_name"] == "grpc"
            if value:
                found[labels["rpc_method"], labels["rpc_status_code"], labels["error_type"]] = value
    return found


def calls_over(server: RunningServer) -> int:
    """As the door counts them."""
    (door,) = server.doors
    assert isinstance(door, GrpcServer)
    return sum(door.ended.counts.values())


async def test_every_method_of_every_service_is_measured_by_its_own_name() -> None:
    """Those of the contract, of the admin service, of health and of reflection; what nobody offers shares one name."""
    async with (
        serving(metrics_enabled=True, rpc_metrics=True) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = service_pb2_grpc.EmbeddingServiceStub(channel)
        await stub.ListModels(service_pb2.ListModelsRequest())
        assert await stub.GetModel(service_pb2.GetModelRequest(name="nobody")).code() == grpc.StatusCode.NOT_FOUND
        await admin_pb2_grpc.AdminServiceStub(channel).ListSessions(admin_pb2.ListSessionsRequest())
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest())
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        watch.cancel()
        async for _ in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked()):
            pass
        for number in range(20):
            unknown: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/made.up/M{number}")
            await unknown(b"").code()
        await until(lambda: calls_over(server) == 26)
        counted = await durations(server)
    assert counted == {
        (f"{EMBEDDING}/ListModels", "OK", ""): 1,
        (f"{EMBEDDING}/GetModel", "NOT_FOUND", ""): 1,
        (f"{ADMIN}/ListSessions", "OK", ""): 1,
        (f"{HEALTH}/Check", "OK", ""): 1,
        (f"{HEALTH}/Watch", "CANCELLED", ""): 1,
        (f"{REFLECTION}/ServerReflectionInfo", "OK", ""): 1,
        ("_OTHER", "UNIMPLEMENTED", "UNIMPLEMENTED"): 20,
    }


async def asked() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    yield reflection_pb2.ServerReflectionRequest(list_services="")


async def test_a_stream_takes_as_long_as_it_is_open() -> None:
    """In seconds, and not as long as one of its frames."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server:
        began = time.monotonic()
        async with stream_to(server) as stream:
            await stream.open()
            opened = time.monotonic()
            await stream.call.write(frame(1))
            await stream.result()
            closing = time.monotonic()
            await stream.call.done_writing()
            await stream.results()
            over = time.monotonic()
        await until(lambda: calls_over(server) == 1)
        (seconds,) = (await durations(server, "sum")).values()
    assert closing - opened <= seconds <= over - began


async def test_methods_have_their_series_before_anybody_calls() -> None:
    """Those of calls that end well; with the buckets of the conventions."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server:
        names = [name for name in series_of(await scrape(server)) if name.startswith(NAME)]
    methods = {match[1] for name in names if (match := re.search(r'rpc_method="([^"]+)"', name))}
    assert {f"{EMBEDDING}/EmbedStream", f"{ADMIN}/ListSessions", f"{HEALTH}/Check"} <= methods
    assert "_OTHER" not in methods
    assert len(names) == len(methods) * (len(SECONDS_BUCKETS) + 1 + 2)
    edges = {float(match[1]) for name in names if (match := re.search(r'le="([^"]+)"', name))}
    assert edges == {*SECONDS_BUCKETS, float("inf")}


async def test_an_error_of_the_server_is_told_from_an_answer_to_what_a_client_did() -> None:
    """`error_type` is empty for the second, which Prometheus takes for a label that is not there."""
    async with serving(metrics_enabled=True, rpc_metrics=True) as server, stream_to(server) as stream:
        await stream.call.write(frame(1))  # no opening
        await stream.refusal()
        server.runtime.leave()
        async with stream_to(server) as late:
            assert (await late.refusal())[0] == grpc.StatusCode.UNAVAILABLE
        await until(lambda: calls_over(server) == 2)
        counted = await durations(server)
    assert counted == {
        (f"{EMBEDDING}/EmbedStream", "INVALID_ARGUMENT", ""): 1,
        (f"{EMBEDDING}/EmbedStream", "UNAVAILABLE", "UNAVAILABLE"): 1,
    }


async def test_without_the_setting_no_call_is_timed() -> None:
    """There is no series, and the door looks at no clock."""
    async with serving(metrics_enabled=True) as server:
        assert not [name for name in series_of(await scrape(server)) if name.startswith("rpc_")]
        (door,) = server.doors
        assert isinstance(door, GrpcServer)
        assert door.ended._durations is None
