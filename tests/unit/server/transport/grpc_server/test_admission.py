"""What one client, or a stranger, can make the port hold: on real connections, by the port's own accounts."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_proto.v1 import contract, service_pb2, session_pb2
from reidstream_server import bounds
from reidstream_server.app import RunningServer
from reidstream_server.errors import Refusal
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.transport.entrance.entrance import RECEIVING_PLACES
from reidstream_server.transport.grpc_server import admission as admissions
from reidstream_server.transport.grpc_server.admission import OWN_RECEIVING_PLACES, CallAdmission
from reidstream_server.transport.grpc_server.server import CALL_WINDOW_BYTES, GrpcServer
from tests.support.harness import box, frame, opening, serving, stub_of, until
from tests.support.wire import message_of, wire_to

EMBED = "/reidstream.v1.EmbeddingService/Embed"
GET_MODEL = "/reidstream.v1.EmbeddingService/GetModel"
EMBED_STREAM = "/reidstream.v1.EmbeddingService/EmbedStream"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
OPTIONS = session_pb2.EmbedOptions(camera_id="c")
HALF = message_of(bytes(100), sent=50)


def port_of(server: RunningServer) -> CallAdmission:
    (door,) = server.doors
    assert isinstance(door, GrpcServer)
    return door.admission


def unary(boxes: int = 2) -> service_pb2.EmbedRequest:
    chosen = [box(10, 10, 60, 120)] * boxes
    return service_pb2.EmbedRequest(options=OPTIONS, frame=frame(1, boxes=chosen).frame)


async def healthy(server: RunningServer) -> bool:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def refusals(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Refusal]]:
    told: list[Refusal] = []
    monkeypatch.setattr(MetricsObserver, "call_refused", lambda _, refusal: told.append(refusal))
    yield told


async def reason_of(call: grpc.aio.Call) -> tuple[grpc.StatusCode, str]:
    status, trailing = await call.code(), await call.trailing_metadata()
    return status, next((str(value) for name, value in trailing if name == contract.REASON_HEADER), "")


# Messages that do not come.


async def test_unfinished_messages_take_half_of_the_places_and_another_client_is_served() -> None:
    """However many calls one connection opens; the rest of them waits, and nobody reads a byte of it."""
    async with serving() as server, wire_to(server.port) as attacker:
        for _ in range(3 * RECEIVING_PLACES):
            attacker.call(EMBED, HALF)
        reception = port_of(server).reception
        await until(lambda: reception.waiting == 3 * RECEIVING_PLACES - RECEIVING_PLACES // 2)
        assert reception.taken == RECEIVING_PLACES // 2
        async with stub_of(server.port) as stub:
            for _ in range(3):
                assert (await stub.Embed(unary())).result.frame_id == 1
        assert reception.taken == RECEIVING_PLACES // 2
    await until(lambda: reception.taken == reception.waiting == 0)


async def test_a_message_that_does_not_arrive_in_time_ends_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a status of its own, and its place is free; so do those that found no place."""
    async with refusals(monkeypatch) as told, serving(receive_timeout_s=0.1) as server, wire_to(server.port) as slow:
        calls = {slow.call(EMBED, HALF) for _ in range(RECEIVING_PLACES)}
        await until(lambda: slow.ended == calls)
        await until(lambda: port_of(server).calls.taken == port_of(server).reception.taken == 0)
        assert set(told) <= {Refusal.TOO_SLOW, Refusal.TOO_MANY_CALLS}
        assert told.count(Refusal.TOO_SLOW) >= RECEIVING_PLACES // 2


async def test_a_message_that_comes_in_two_parts_is_understood() -> None:
    """As long as it is in time."""
    async with serving() as server, wire_to(server.port) as slow:
        data = service_pb2.GetModelRequest(name="fake").SerializeToString()
        number = slow.call(GET_MODEL, message_of(data, sent=1))
        await until(lambda: port_of(server).reception.taken == 1)
        slow.more(number, data[1:], half_close=True)
        await until(lambda: slow.ended == {number})
        assert port_of(server).reception.taken == 0


async def test_a_call_without_a_message_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the stream is no message."""
    async with refusals(monkeypatch) as told, serving() as server, wire_to(server.port) as client:
        number = client.call(EMBED, half_close=True)
        await until(lambda: client.ended == {number})
        assert told == [Refusal.INVALID_CALL]


async def test_strangers_take_no_place_of_a_hosted_service(tmp_path: Path) -> None:
    """Health has places of its own, and whoever asks there honestly is answered."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    async with serving(tokens_file=tokens) as server, wire_to(server.port) as stranger:
        port = port_of(server)
        for _ in range(20):
            stranger.call(CHECK, HALF)
            stranger.call(EMBED, HALF)
        await until(lambda: port.own_reception.taken == OWN_RECEIVING_PLACES // 2 and port.own_reception.waiting == 18)
        assert port.reception.taken == port.calls.taken == 0
        assert await healthy(server)


async def test_the_oldest_place_of_who_has_most_goes_to_who_has_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all are taken: many connections cannot keep another one out."""
    monkeypatch.setattr(admissions, "_OWN_PATIENCE_S", 0.0)
    async with refusals(monkeypatch) as told, serving() as server:
        reception = port_of(server).own_reception
        async with wire_to(server.port) as one, wire_to(server.port) as two, wire_to(server.port) as three:
            for number, attacker in enumerate((one, one, two, three), 1):
                attacker.call(CHECK, HALF)
                await until(lambda number=number: reception.taken == number)
            assert await healthy(server)
            assert one.ended == {1}
            assert not two.ended | three.ended
    assert told == [Refusal.TOO_MANY_CALLS]


# Calls in progress.


async def test_one_client_gets_half_of_the_calls_and_another_gets_its_own() -> None:
    """The refusal names the bound, its setting, and what to do."""
    async with serving(max_calls=4) as server, wire_to(server.port) as busy:
        port = port_of(server)
        for _ in range(2):
            busy.call(EMBED, HALF)
        await until(lambda: port.calls.taken == 2)
        number = busy.call(EMBED, HALF)
        await until(lambda: busy.ended == {number})
        async with stub_of(server.port) as stub:
            assert (await stub.Embed(unary())).result.frame_id == 1
        await until(lambda: port.calls.taken == 2)


async def test_a_call_too_many_is_resource_exhausted() -> None:
    """With the word for programs, and a sentence for people."""
    async with serving(max_calls=1) as server, wire_to(server.port) as busy, stub_of(server.port) as stub:
        busy.call(EMBED, HALF)
        await until(lambda: port_of(server).calls.taken == 1)
        call = stub.Embed(unary())
        assert await reason_of(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_calls")
        assert "the limit is 1 (max_calls)" in await call.details()


# Calls that do not end.


async def test_an_answer_that_is_not_taken_is_hung_up_and_its_place_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that grants no window can take neither an answer nor a status: only a reset ends its call."""
    monkeypatch.setattr(bounds, "END_TIMEOUT_S", 0.3)
    async with serving() as server, wire_to(server.port, window=0) as mute:
        numbers = {mute.call(EMBED, message_of(unary().SerializeToString()), half_close=True) for _ in range(8)}
        port = port_of(server)
        await until(lambda: len(port.endings) == 8)
        await until(lambda: port.calls.taken == 0)
        assert await healthy(server)
        await until(lambda: mute.reset >= numbers)
        assert await healthy(server)


async def test_a_stream_that_never_reads_what_was_agreed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its session's place is free, and gRPC forgets the call."""
    monkeypatch.setattr(bounds, "END_TIMEOUT_S", 0.3)
    async with serving(stall_timeout_s=0.2, max_sessions=2) as server, wire_to(server.port, window=0) as mute:
        number = mute.call(EMBED_STREAM, message_of(opening().SerializeToString()))
        await until(lambda: server.runtime.open_sessions == 1)
        await until(lambda: server.embedding.open_streams == 0)
        assert server.runtime.open_sessions == len(server.embedding._epochs) == 0
        await until(lambda: len(port_of(server).endings) == 0)
        assert await healthy(server)
        await until(lambda: mute.reset == {number})


async def test_a_stalled_stream_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not read is let go, though its connection stays open."""
    monkeypatch.setattr(bounds, "END_TIMEOUT_S", 0.3)
    engine = FakeEngine(fake_spec(dim=4096))
    async with serving(engine, stall_timeout_s=0.2) as server, wire_to(server.port, window=4096) as mute:
        data = message_of(opening().SerializeToString()) + message_of(frame(1).SerializeToString())
        number = mute.call(EMBED_STREAM, data)
        await until(lambda: server.runtime.open_sessions == 1)
        await until(lambda: server.embedding.open_streams == 0)
        await until(lambda: len(port_of(server).endings) == 0)
        assert await healthy(server)
        await until(lambda: mute.reset == {number})


async def test_a_client_that_left_is_not_looked_for_twice() -> None:
    """Nothing is kept of its call."""
    async with serving() as server, wire_to(server.port) as client:
        port = port_of(server)
        number = client.call(EMBED, HALF)
        await until(lambda: port.calls.taken == 1)
        client.leave(number)
        await until(lambda: port.calls.taken == 0)
        await until(lambda: len(port.endings) == 0)


# Health and reflection.


async def test_a_watch_too_many_ends_the_oldest_of_who_has_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client's watch goes on, and hears of a change."""
    monkeypatch.setattr(admissions, "OWN_CALLS", 6)
    request = health_pb2.HealthCheckRequest().SerializeToString()
    async with (
        serving() as server,
        wire_to(server.port) as crowd,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        said = aiter(watch)
        assert (await anext(said)).status == health_pb2.HealthCheckResponse.SERVING
        oldest: set[int] = set()
        for taken in range(2, 6 + 1):  # one by one: gRPC takes calls that come together in an order of its own
            oldest.add(crowd.call(WATCH, message_of(request), half_close=True))
            await until(lambda taken=taken: port_of(server).own_calls.taken == taken)
        for _ in range(5):
            crowd.call(WATCH, message_of(request), half_close=True)
        await until(lambda: crowd.ended == oldest)
        await until(lambda: port_of(server).own_calls.taken == 6)  # a call may be over for its client first
        for door in server.doors:
            await door.set_serving(serving=False)
        assert (await anext(said)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()


async def test_a_watcher_that_does_not_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another watcher nor the server's drain; and it is hung up in the end."""
    monkeypatch.setattr(bounds, "END_TIMEOUT_S", 0.3)
    request = health_pb2.HealthCheckRequest().SerializeToString()
    async with serving(stall_timeout_s=0.2) as server, wire_to(server.port, window=0) as mute:
        numbers = {mute.call(WATCH, message_of(request), half_close=True) for _ in range(3)}
        await until(lambda: port_of(server).own_calls.taken == 3)
        assert await healthy(server)
        await until(lambda: port_of(server).own_calls.taken == 0)
        await until(lambda: mute.reset == numbers)
        assert await server.drain()


async def test_a_watch_that_ends_takes_nobody_with_it() -> None:
    """Two watch one name; one leaves; the other hears of the change."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        stays, leaves = (stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
        said = aiter(stays)
        await anext(said)
        await anext(aiter(leaves))
        leaves.cancel()
        await until(lambda: port_of(server).own_calls.taken == 1)
        for door in server.doors:
            await door.set_serving(serving=False)
        assert (await anext(said)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        stays.cancel()


async def test_health_knows_what_it_is_asked_for_and_what_not() -> None:
    """As its protocol says: NOT_FOUND for a check of a name that is none; a watch of it waits."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub, nobody = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest(service="nobody")
        assert await stub.Check(nobody).code() == grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(nobody)
        assert (await anext(aiter(watch))).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


@pytest.mark.parametrize("method", [CHECK, WATCH, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"])
async def test_bytes_that_are_no_message_of_health_or_reflection(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """Are the client's fault, and not a line in the log."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(method)()
        await stream.write(b"\xff\xff")
        assert await reason_of(stream) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_call")
    assert [record.message for record in caplog.records if record.levelno >= 30] == []


async def test_reflection_answers_one_question_after_another_and_ends_when_none_comes() -> None:
    """A silent reflection ends well after the time that a message may take."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    async with (
        serving(receive_timeout_s=0.3) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        for _ in range(3):
            await call.write(ask)
            answer = await call.read()
            assert len(answer.list_services_response.service) == 4
        assert await call.code() == grpc.StatusCode.OK
        await until(lambda: port_of(server).own_calls.taken == port_of(server).own_reception.taken == 0)


async def test_the_window_of_a_call_does_not_grow_by_itself() -> None:
    """What gRPC takes in of a call that nobody reads is what its window says, however fast its client sends."""
    async with serving() as server, wire_to(server.port) as fast:
        for _ in range(20):
            fast.call(EMBED, message_of(bytes(10**6), sent=16_000))
            assert await healthy(server)
        assert max(fast.granted) == CALL_WINDOW_BYTES


async def test_what_a_refused_call_has_sent_is_gone_with_the_call() -> None:
    """At once, and not with the next garbage collection: the refusal must not keep its call, nor that its message."""
    alive = 0
    async with serving() as server, stub_of(server.port) as stub:
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.GetModel(service_pb2.GetModelRequest(name="x" * 100_000))
            await until(lambda: port_of(server).calls.taken == 0)
            assert await healthy(server)
            alive = sum(type(found).__name__ == "_ServicerContext" for found in gc.get_objects())
        finally:
            gc.enable()
    assert alive <= 2
