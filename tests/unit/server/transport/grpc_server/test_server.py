"""How calls end: with the right status, with nothing of ours in it, and with nothing left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from reidstream_client import AsyncReidClient, Overloaded
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, fake_spec
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from reidstream_server.app import RunningServer
from reidstream_server.core.effects import EndCause
from reidstream_server.errors import StartupError, UnknownModel
from reidstream_server.metrics.observer import MetricsObserver
from reidstream_server.transport.embedding import service as embedding
from tests.support.gate import Gate
from tests.support.harness import (
    JPEG,
    box,
    frame,
    opening,
    serving,
    stream_to,
    stub_of,
    until,
    write_while_it_lasts,
)

SERVICE = "/reidstream.v1.EmbeddingService/"
OPTIONS = session_pb2.EmbedOptions(camera_id="c")
SECRET = RuntimeError("secret: /etc/passwd")


@asynccontextmanager
async def gated_server(**changes: object) -> AsyncIterator[tuple[RunningServer, Gate]]:
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with serving(engine, **changes) as server:
        try:
            yield server, gate
        finally:
            gate.opened.set()


def unary(number: int = 1) -> service_pb2.EmbedRequest:
    return service_pb2.EmbedRequest(options=OPTIONS, frame=frame(number).frame)


async def status_of(call: grpc.aio.Call) -> tuple[grpc.StatusCode, str]:
    return await call.code(), await call.details()


def assert_empty(server: RunningServer) -> None:
    left = server.runtime.statistics()
    assert (left.sessions, left.frames, left.queue_boxes, left.queue_bytes) == (0, 0, 0, 0)
    assert (left.staged_bytes, left.staging_frames, left.parked_frames, left.timers) == (0, 0, 0, 0)


# Shutting down.


async def test_a_single_call_that_was_accepted_is_answered_while_the_server_drains() -> None:
    """It is an accepted frame like any other; the next one is refused."""
    async with gated_server() as (server, gate), stub_of(server.port) as stub:
        call = stub.Embed(unary(9))
        await until(lambda: gate.entered == 1)
        draining = asyncio.create_task(server.drain())
        await until(lambda: server.runtime.leaving)
        late = stub.Embed(unary())
        assert (await late.code()) == grpc.StatusCode.UNAVAILABLE
        gate.opened.set()
        answer = await call
        assert await draining
    assert answer.result.frame_id == 9
    assert {item.outcome for item in answer.result.boxes} == {frame_pb2.OUTCOME_EMBEDDED}


async def test_a_stream_that_opens_behind_the_drain_is_refused() -> None:
    """It began before, and said what it wants too late: nobody would ask it to leave any more."""
    async with gated_server() as (server, gate), stream_to(server) as busy, stream_to(server) as late:
        await busy.open()
        await busy.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        await late.call.wait_for_connection()
        await until(lambda: server.embedding.open_streams == 2)
        draining = asyncio.create_task(server.drain())
        await until(lambda: server.runtime.leaving)
        await late.call.write(opening())
        status, details = await late.refusal()
        gate.opened.set()
        assert [result.frame_id for result in await busy.results()] == [1]
        assert await draining
    assert (status, "stopping" in details) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_a_drain_ends_a_stream_whose_window_is_full() -> None:
    """Its client may be blocked in a write; what it wrote too late is let go."""
    async with gated_server() as (server, gate), stream_to(server) as stream:
        await stream.open(window=session_pb2.Window(frames=1))
        for number in (1, 2, 3):
            await stream.call.write(frame(number))
        await until(lambda: gate.entered == 1)
        draining = asyncio.create_task(server.drain())
        answer = await stream.read()
        assert answer is not None
        assert answer.drain.last_accepted_frame_id == 1
        gate.opened.set()
        assert [result.frame_id for result in await stream.results()] == [1]
        assert await stream.call.code() == grpc.StatusCode.OK
        assert await draining
        assert_empty(server)


# Leaving early.


async def test_a_single_call_that_is_cancelled_while_its_batch_runs_leaves_nothing() -> None:
    """Its pixels are given back when the batch comes back."""
    async with gated_server() as (server, gate), stub_of(server.port) as stub:
        call = stub.Embed(unary())
        await until(lambda: gate.entered == 1)
        call.cancel()
        await until(lambda: server.runtime.open_sessions == 0)
        assert server.runtime.statistics().staged_bytes > 0
        gate.opened.set()
        await until(lambda: server.runtime.statistics().frames == 0)
        assert_empty(server)


async def test_a_single_call_whose_deadline_passes_leaves_nothing() -> None:
    """The server hears of it and stops waiting."""
    async with gated_server() as (server, gate), stub_of(server.port) as stub:
        call = stub.Embed(unary(), timeout=0.1)
        assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: server.runtime.open_sessions == 0)
        gate.opened.set()
        await until(lambda: server.runtime.statistics().frames == 0)


async def test_a_client_that_half_closes_and_vanishes_leaves_nothing() -> None:
    """While its batch runs, and while more waits behind it."""
    async with gated_server() as (server, gate), stream_to(server) as stream:
        await stream.open()
        for number in range(1, 9):
            await stream.call.write(frame(number))
        await stream.call.done_writing()
        await until(lambda: gate.entered == 2)
        stream.call.cancel()
        await until(lambda: server.embedding.open_streams == 0)
        assert len(server.embedding._epochs) == 0
        gate.opened.set()
        await until(lambda: server.runtime.statistics().frames == 0)
        assert_empty(server)


async def test_a_port_that_is_taken_is_said_to_be() -> None:
    """With what to do; gRPC itself says only that it failed."""
    async with serving() as first:
        with pytest.raises(StartupError, match=rf"127\.0\.0\.1:{first.port}: the port is in use.*another --port"):
            async with serving(port=first.port):
                pass


async def test_an_address_that_is_not_ours_is_said_to_be() -> None:
    """With the flag that takes another."""
    with pytest.raises(StartupError, match=r"192\.0\.2\.1:0: this machine has no such address; .*another --host"):
        async with serving(host="192.0.2.1"):
            pass


@pytest.mark.parametrize(("count", "code"), [(200, grpc.StatusCode.OK), (240, grpc.StatusCode.RESOURCE_EXHAUSTED)])
async def test_a_call_may_have_so_many_headers_and_none_more(count: int, code: grpc.StatusCode) -> None:
    """Not by chance, as gRPC has it by default: what a call costs that waits is a part of the budget of memory."""
    headers = [(f"{number}", "") for number in range(1000, 1000 + count)]  # 36 bytes each, as HTTP/2 counts them
    async with serving() as server, stub_of(server.port) as stub:
        for _ in range(20):
            call = stub.ListModels(service_pb2.ListModelsRequest(), metadata=headers)
            assert await call.code() is code


async def test_a_stream_that_says_nothing_is_ended() -> None:
    """In time, and its place is free."""
    async with serving(open_timeout_s=0.05) as server, stream_to(server) as stream:
        status, details = await stream.refusal()
        assert (status, "no session_open came within 0.05 s" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        await until(lambda: server.embedding.open_streams == 0)


async def test_a_client_that_does_not_read_keeps_no_place(caplog: pytest.LogCaptureFixture) -> None:
    """Though it never takes the status either, the next session may come."""
    engine = FakeEngine(fake_spec(dim=4096))
    boxes = [box(i, i, i + 40, i + 60) for i in range(60)]  # a megabyte of answers a frame
    async with serving(engine, stall_timeout_s=0.2, max_sessions=1) as server, stream_to(server) as stream:
        await stream.open()
        await write_while_it_lasts(stream, [frame(number, boxes=boxes) for number in range(1, 12)])
        await until(lambda: server.embedding.open_streams == 0)
        await until(lambda: server.runtime.statistics().frames == 0)
        assert_empty(server)
        async with stream_to(server) as second:
            await second.open()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == ["session_stalled"]


async def test_a_single_call_that_finds_the_queue_full_is_told_when_to_come_back() -> None:
    """Not in words alone: the client's error has the number."""
    async with (
        gated_server(max_queue_boxes=2) as (server, gate),
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
    ):
        first = asyncio.create_task(client.embed(JPEG, [[1, 1, 90, 90]] * 2))
        await until(lambda: gate.entered == 1)
        with pytest.raises(Overloaded, match="the queue holds 2 of 2 boxes; try again in") as caught:
            await client.embed(JPEG, [[1, 1, 90, 90]])
        assert f"try again in {round((caught.value.retry_after_s or 0) * 1000)} ms" in str(caught.value)
        gate.opened.set()
        await first


async def test_sessions_are_counted_by_how_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single call that was answered has finished; who leaves while a frame is open has vanished."""
    ended: list[EndCause | None] = []
    monkeypatch.setattr(MetricsObserver, "session_ended", lambda _, cause: ended.append(cause))
    async with gated_server() as (server, gate), stub_of(server.port) as stub, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        await until(lambda: gate.entered == 1)
        stream.call.cancel()
        await until(lambda: len(ended) == 1)
        gate.opened.set()
        await stub.Embed(unary())
    assert ended == [None, EndCause.FINISHED]


# Statuses.


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"garbage" * 70, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x08"])
@pytest.mark.parametrize("method", ["EmbedStream", "Embed", "ListModels", "GetModel"])
async def test_bytes_that_are_no_message_are_the_clients_fault(
    method: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Not UNKNOWN, not an error in the log, and no name of a Python class."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        if method == "EmbedStream":
            stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(SERVICE + method)()
            await stream.write(data)
            status, details = await status_of(stream)
        else:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE + method)
            status, details = await status_of(call(data))
    assert (status, "cannot be parsed" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_garbled_message_later_ends_the_stream_after_what_was_right() -> None:
    """The frames before it have been taken; the status says why there are no more."""
    async with serving() as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(SERVICE + "EmbedStream")()
        await stream.write(opening().SerializeToString())
        await stream.read()
        await stream.write(b"\xff")
        status, _ = await status_of(stream)
        await until(lambda: server.runtime.open_sessions == 0)
    assert status == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_is_long_is_cut_to_what_headers_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the client would lose the status with it."""

    def refusing(*_: object, **__: object) -> None:
        raise UnknownModel("unknown model " + "\U0001f3a5" * 50_000)

    for name in ("details", "parse_session"):
        monkeypatch.setattr(embedding, name, refusing)
    async with serving() as server, stub_of(server.port) as stub, stream_to(server) as stream:
        unary_end = await status_of(stub.GetModel(service_pb2.GetModelRequest()))
        await stream.call.write(opening())
        for status, details in (unary_end, await stream.refusal()):
            assert (status, details.startswith("unknown model")) == (grpc.StatusCode.NOT_FOUND, True)
            assert len(details.encode()) < 3000


async def test_a_fault_of_the_server_is_internal_and_stays_in_its_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In every method."""

    def broken(*_: object, **__: object) -> None:
        raise SECRET

    for name in ("summary", "details", "parse_unary", "parse_session"):
        monkeypatch.setattr(embedding, name, broken)
    async with serving() as server, stub_of(server.port) as stub, stream_to(server) as stream:
        await stream.call.write(opening())
        for status, details in (
            await status_of(stub.ListModels(service_pb2.ListModelsRequest())),
            await status_of(stub.GetModel(service_pb2.GetModelRequest())),
            await status_of(stub.Embed(unary())),
            await stream.refusal(),
        ):
            assert status == grpc.StatusCode.INTERNAL
            assert "secret" not in details
    failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.message for record in failures] == ["call_failed"] * 4
    assert all(record.exc_info is not None and record.exc_info[1] is SECRET for record in failures)


async def test_a_fault_while_a_frame_is_parsed_is_that_frames(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad frame never ends the stream, whoever is to blame."""

    def broken(*_: object) -> int:
        raise SECRET

    monkeypatch.setattr(FakeStager, "staged_bytes", broken)
    async with serving() as server, stream_to(server) as stream:
        await stream.open()
        for number in (1, 2):
            await stream.call.write(frame(number))
            error = (await stream.result()).error
            assert (error.reason, "secret" in error.message) == (frame_pb2.ERROR_REASON_INTERNAL, False)
        async with stub_of(server.port) as stub:
            status, details = await status_of(stub.Embed(unary()))
    assert (status, "secret" in details) == (grpc.StatusCode.INTERNAL, False)
    assert {record.message for record in caplog.records if record.levelno >= logging.ERROR} == {"frame_not_parsed"}


async def test_a_picture_larger_than_the_device_may_hold_is_refused_and_blocks_nobody() -> None:
    """It could wait for ever for room that there never is, and everybody behind it."""
    async with serving(max_staged_bytes=100_000) as server, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        error = (await stream.result()).error
    assert error.reason == frame_pb2.ERROR_REASON_IMAGE_TOO_LARGE
    assert "230400 bytes" in error.message
