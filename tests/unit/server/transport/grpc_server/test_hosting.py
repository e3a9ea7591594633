"""A second service on the port: guarded, drained and shown as the first, without a line of the port's own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_engines.fake import FakeEngine, FakeStager
from reidstream_proto.v1 import contract, service_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.terms import DrainReason
from reidstream_server.doors import embedding_service, grpc_door
from reidstream_server.loading import Engines
from reidstream_server.parts import Parts, running_parts
from reidstream_server.transport.grpc_server.caller import presented_by
from reidstream_server.transport.grpc_server.calls import refuse
from reidstream_server.transport.grpc_server.hosting import HostedService
from reidstream_server.transport.grpc_server.server import GrpcServer
from reidstream_server.transport.grpc_server.unparsable import Unparsed
from tests.support.harness import settings, until

TOY = "toy.v1.Counting"
EMBEDDING = "reidstream.v1.EmbeddingService"
Request = service_pb2.GetModelRequest
Response = service_pb2.ListModelsResponse


@dataclass
class Counting:
    """A service with two methods, of which `Look` only reads. Its messages are borrowed."""

    parts: Parts
    counted: int = 0

    async def count(self, request: Unparsed[Request], context: grpc.aio.ServicerContext[Request, Response]) -> Response:
        try:
            self.parts.access.client_of(presented_by(context))
            self.counted += 1 // (request.read().name != "broken")
            return Response()
        except Exception as error:  # noqa: BLE001 - a call ends with a status, whatever it was
            await refuse(context, error, self.parts.observer)

    @property
    def hosted(self) -> HostedService:
        method = grpc.unary_unary_rpc_method_handler(
            self.count, request_deserializer=Request.FromString, response_serializer=Response.SerializeToString
        )
        handlers = grpc.method_handlers_generic_handler(TOY, {"Count": method, "Look": method})
        return HostedService(
            name=TOY,
            add=lambda server: server.add_generic_rpc_handlers((handlers,)),
            while_leaving=frozenset({"Look"}),
        )


@asynccontextmanager
async def hosting(**changes: object) -> AsyncIterator[tuple[RunningServer, Counting, grpc.aio.Channel]]:
    engines = Engines(engines=(FakeEngine(),), stager=FakeStager())
    async with running_parts(settings(**changes), engines) as parts:
        counting, embedding = Counting(parts), embedding_service(parts)
        server = RunningServer(parts, embedding, [grpc_door(parts, [embedding.hosted, counting.hosted])])
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield server, counting, channel
        finally:
            await server.stop(0.0)


async def called(
    channel: grpc.aio.Channel, method: str, token: str | None = None, request: bytes = b""
) -> tuple[grpc.StatusCode, str]:
    """How a call ends: its status, and the server's word for why."""
    method_of: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}", bytes, bytes)
    call = method_of(request, metadata=() if token is None else (("authorization", f"Bearer {token}"),))
    status, trailing = await call.code(), await call.trailing_metadata()
    return status, next((str(value) for name, value in trailing if name == contract.REASON_HEADER), "")


OK = (grpc.StatusCode.OK, "")
STRANGER = (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
LEAVING = (grpc.StatusCode.UNAVAILABLE, "going_away")


async def test_a_second_service_is_guarded_by_tokens(tmp_path: Path) -> None:
    """As the first is, before anything of a message is parsed."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    async with hosting(tokens_file=tokens) as (server, counting, channel):
        assert [await called(channel, f"{TOY}/Count", token) for token in (None, "wrong", "right")] == [
            STRANGER,
            STRANGER,
            OK,
        ]
        assert await called(channel, f"{TOY}/Count", None, b"\xff") == STRANGER
        assert await called(channel, f"{EMBEDDING}/ListModels", None) == STRANGER
        assert counting.counted == 1
        door = server.doors[0]
        assert isinstance(door, GrpcServer)
        await until(lambda: sum(door.ended.counts.values()) == 5)  # a call may be over for its client first
        ended = {(method, status): count for (method, status), count in door.ended.counts.items() if count}
        assert ended == {
            (TOY, "OK"): 1,
            (TOY, "UNAUTHENTICATED"): 3,
            (f"{EMBEDDING}/ListModels", "UNAUTHENTICATED"): 1,
        }
        assert (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=TOY))).status == 1


async def test_a_second_service_is_unavailable_while_the_server_drains() -> None:
    """Except for methods that say they only read; and health says so."""
    async with hosting() as (server, counting, channel):
        assert await called(channel, f"{TOY}/Count") == OK
        server.runtime.leave()
        assert await called(channel, f"{TOY}/Count") == LEAVING
        assert await called(channel, f"{TOY}/Look") == OK
        assert await called(channel, f"{EMBEDDING}/Embed") == LEAVING
        assert await called(channel, f"{EMBEDDING}/ListModels") == OK
        assert counting.counted == 2
        assert await server.runtime.drain(DrainReason.SHUTDOWN, 1.0)


async def test_what_is_wrong_with_a_call_ends_it_as_everywhere() -> None:
    """Bytes that are no message, and a fault of the service's own, whose text stays in the log."""
    async with hosting() as (_, counting, channel):
        assert await called(channel, f"{TOY}/Count", request=b"\xff") == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "invalid_call",
        )
        broken = Request(name="broken").SerializeToString()
        assert await called(channel, f"{TOY}/Count", request=broken) == (grpc.StatusCode.INTERNAL, "internal")
        assert counting.counted == 0


@pytest.mark.parametrize("leaving", [False, True])
async def test_a_stranger_is_told_nothing_else_and_a_method_that_is_none_is_said_to_be(
    tmp_path: Path, *, leaving: bool
) -> None:
    """Tokens go first, whatever the method; then whether there is such a method; then whether the server leaves."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    nothing = (grpc.StatusCode.UNIMPLEMENTED, "unknown_method")
    async with hosting(tokens_file=tokens) as (server, _, channel):
        if leaving:
            server.runtime.leave()
        for method in ("Count", "Nope", "Count/more"):
            assert await called(channel, f"{TOY}/{method}", "wrong") == STRANGER
        assert await called(channel, f"{TOY}/Nope", "right") == nothing
        assert await called(channel, f"{TOY}/Count/more", "right") == nothing
        assert await called(channel, f"{TOY}/Count", "right") == (LEAVING if leaving else OK)


@pytest.mark.parametrize("service", [TOY, EMBEDDING, ""])
async def test_every_hosted_service_has_a_health(service: str) -> None:
    """SERVING, then NOT_SERVING, when the root says so."""
    async with hosting() as (server, _, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        said = aiter(watch)
        assert (await anext(said)).status == health_pb2.HealthCheckResponse.SERVING
        for door in server.doors:
            await door.set_serving(serving=False)
        assert (await anext(said)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


async def test_reflection_shows_every_hosted_service() -> None:
    """Beside health and itself."""
    async with hosting() as (_, _, channel):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await anext(aiter(call))
        call.cancel()
    assert {TOY, EMBEDDING} < {service.name for service in answer.list_services_response.service}
