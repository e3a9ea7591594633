"""A stream of requests keeps its bounds: large messages, silence, answers that nobody reads, and who pays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.v1 import contract, service_pb2, session_pb2
from reidstream_server import bounds
from reidstream_server.app import RunningServer
from reidstream_server.memory.budget import REQUEST_STREAM_BYTES
from reidstream_server.runtime.runtime import Runtime
from reidstream_server.transport.entrance.apart import Apart
from reidstream_server.transport.grpc_server import unparsable
from reidstream_server.transport.grpc_server.server import GrpcServer
from reidstream_server.transport.grpc_server.stream_messages import JOINING_NS_PER_BYTE
from reidstream_server.transport.grpc_server.unparsable import LARGE_MESSAGE_BYTES
from reidstream_server.transport.kserve.grpc_stream import MOST_IN_PROGRESS, InferStream
from reidstream_server.transport.kserve.inference import Inference
from tests.support.gate import Gate
from tests.support.harness import box, frame, real_engine, serving, stub_of, until
from tests.support.kserve import Stub, Tensor, kserve_stub, request, rows
from tests.support.wire import message_of, wire_to

SHAPE = (3, 256, 128)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PIXELS = Tensor.of("image", np.zeros((1, 16, 16, 3), np.uint8))
FIXED = ("grpc.http2.bdp_probe", 0)  # else the client's window grows


def tensor(count: int = 1, seed: int = 0) -> Tensor:
    return Tensor.of("input", np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype("<f4"))


def large(request_id: str, **fields: Any) -> pb.ModelInferRequest:
    """9 MiB."""
    return request(tensor(24), id=request_id, **fields)


def small(request_id: str, **fields: Any) -> pb.ModelInferRequest:
    return request(tensor(), id=request_id, **fields)


async def said(call: Any) -> pb.ModelStreamInferResponse:
    """The next answer of a stream."""
    answer = await call.read()
    assert isinstance(answer, pb.ModelStreamInferResponse)
    return answer


async def ids(call: Any, count: int) -> list[str]:
    return [(await said(call)).infer_response.id for _ in range(count)]


async def ended(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """The status of a stream, its message, and its reason; answers before it are read over."""
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    trailing = {str(name): str(value) for name, value in await call.trailing_metadata()}
    return await call.code(), str(await call.details()), trailing[contract.REASON_HEADER]


@asynccontextmanager
async def blocked(gate: Gate) -> AsyncIterator[tuple[RunningServer, Stub, Apart]]:
    """A server whose thread for large messages is at work until the gate opens."""
    async with serving(FakeEngine(), kserve=True) as server, kserve_stub(server) as stub:
        apart = server.parts.entrance.apart
        blocking = asyncio.create_task(apart.do("nobody", lambda: gate.wait(0)))
        await until(lambda: gate.entered == 1)
        try:
            yield server, stub, apart
        finally:
            blocking.cancel()


# Large messages.


def tensor_of(count: int) -> Tensor:
    """Crops of pixels of the embedded model's size and more, 384 kB each."""
    return Tensor.of("image", np.zeros((count, 384, 340, 3), np.uint8))


async def test_rows_of_a_large_request_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it was parsed."""
    pixels = Tensor.of("image", np.random.default_rng(0).integers(0, 256, (24, 384, 340, 3), np.uint8))
    asked = request(pixels, id="1")
    assert asked.ByteSize() > LARGE_MESSAGE_BYTES
    async with serving(real_engine(), kserve=True) as server, kserve_stub(server) as stub:
        turns: list[str] = []
        turn = server.parts.entrance.apart.turn

        def watched(source: str) -> Any:
            turns.append(source)
            return turn(source)

        monkeypatch.setattr(server.parts.entrance.apart, "turn", watched)
        call = stub.ModelStreamInfer()
        await call.write(asked)
        found = rows((await said(call)).infer_response)
        alone = rows(await stub.ModelInfer(asked))
        assert len(turns) == 2  # one each: it is parsed and planned in the same
        turns.clear()
        await stub.ModelInfer(request(tensor_of(8)))
        assert len(turns) == 1  # 3 MiB: parsed here, and planned there
        turns.clear()
        monkeypatch.setattr(unparsable, "LARGE_MESSAGE_BYTES", 2**40)
        monkeypatch.setattr("reidstream_server.transport.kserve.inference.LARGE_BYTES", 2**40)
        expected = rows(await stub.ModelInfer(asked))
        assert turns == []
        call.cancel()
    assert np.array_equal(found, expected)
    assert np.array_equal(alone, expected)


async def test_requests_of_a_stream_stay_in_order() -> None:
    """What comes after a large one waits for it, and the end of the stream, too; streams of small ones do not."""
    gate = Gate()
    async with blocked(gate) as (_, stub, apart):
        other = stub.ModelStreamInfer()
        await other.write(small("76"))
        assert await ids(other, 1) == ["76"]
        call = stub.ModelStreamInfer()

        async def send() -> None:
            for one in (small("0"), large("1"), small("2"), large("3"), small("4")):
                await call.write(one)
            await call.done_writing()

        sending = asyncio.create_task(send())
        assert await ids(call, 1) == ["0"]
        await until(lambda: apart.waiting == 1)
        await other.write(small("77"))
        assert await ids(other, 1) == ["77"]
        gate.opened.set()
        assert await ids(call, 4) == ["1", "2", "3", "4"]
        assert await call.read() is grpc.aio.EOF
        await sending
        other.cancel()


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_next_large_request_is_joined_when_it_is_its_turn(
    monkeypatch: pytest.MonkeyPatch, *, leaves: bool
) -> None:
    """GRPC keeps its parts until then. They are joined in any case, or gRPC would keep them for ever."""
    joined, unparsed = list[int](), unparsable.Unparsed

    def counted(data: bytes, parse: Callable[[bytes], Any]) -> unparsable.Unparsed[Any]:
        joined.append(len(data))
        return unparsed(data, parse)

    def large_ones() -> int:
        return sum(size > LARGE_MESSAGE_BYTES for size in joined)

    monkeypatch.setattr(unparsable, "Unparsed", counted)
    gate = Gate()
    async with serving(FakeEngine(), kserve=True) as server, kserve_stub(server) as stub:
        apart = server.parts.entrance.apart
        call = stub.ModelStreamInfer()
        await call.write(large("1"))
        assert await ids(call, 1) == ["1"]
        blocking = asyncio.create_task(apart.do("nobody", lambda: gate.wait(0)))
        await until(lambda: gate.entered == 1)
        await call.write(large("2"))
        await until(lambda: apart.waiting == 1)
        if leaves:
            call.cancel()
            await until(lambda: server.requests is not None and server.requests.open_streams == 0)
        assert (apart.waiting, large_ones()) == (1, 1)
        gate.opened.set()
        await until(lambda: large_ones() == 2)
        if not leaves:
            assert await ids(call, 1) == ["2"]
            call.cancel()
        await blocking


async def test_a_large_request_that_is_wrong_is_its_answer_and_the_stream_goes_on() -> None:
    """Bytes that are none, and a tensor that no model takes."""
    wrong = request(Tensor("input", "FP64", [1, 2**20 + 2**18], bytes(10 * 2**20)), id="1")
    async with (
        serving(kserve=True) as server,
        grpc.aio.insecure_channel(
            f"127.0.0.1:{server.port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel,
    ):
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer", bytes, bytes
        )
        call = method()
        for message in (b"\xff" * (9 * 2**20), wrong.SerializeToString(), small("2").SerializeToString()):
            await call.write(message)
        await call.done_writing()
        found = [pb.ModelStreamInferResponse.FromString(answer) async for answer in call]
    assert "cannot be parsed" in found[0].error_message
    assert "is FP64 [1, 1310720]" in found[1].error_message
    assert [answer.infer_response.id for answer in found] == ["", "1", "2"]


async def test_nothing_stays_of_a_stream_that_ends_while_its_request_waits() -> None:
    """And the next one is served."""
    gate = Gate()
    async with blocked(gate) as (server, stub, apart):
        call = stub.ModelStreamInfer()
        await call.write(large("1"))
        single = stub.ModelInfer(large("2"))
        await until(lambda: apart.waiting == 2)
        call.cancel()
        single.cancel()
        requests = server.requests
        assert requests is not None
        await until(lambda: (apart.waiting, requests.open_streams, server.runtime.open_sessions) == (0, 0, 0))
        gate.opened.set()
        assert len(rows(await stub.ModelInfer(large("3")))) == 24


# Silence.


async def test_a_stream_that_sends_nothing_is_ended_as_a_cameras_is() -> None:
    """After the time for its first message, with the same status; and it gives its place back."""
    async with serving(kserve=True, open_timeout_s=0.05) as server, kserve_stub(server) as stub:
        found = await ended(stub.ModelStreamInfer())
        assert found == (INVALID, "no request came within 0.05 s; send the first one at once", "invalid_call")
        requests = server.requests
        assert requests is not None
        await until(lambda: requests.open_streams == 0)


async def test_an_idle_stream_is_told_why_it_ends() -> None:
    """Clients of the protocol would wait for ever on one that just ends."""
    async with serving(kserve=True, idle_timeout_s=0.2) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()
        await call.write(small("1"))
        assert await ids(call, 1) == ["1"]
        status, text, reason = await ended(call)
    assert (status, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "too_slow")
    assert "no request came for 0.2 s (idle_timeout_s)" in text


async def test_a_stream_whose_client_reads_no_answer_is_hung_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a camera's is, with the same word in the log; nothing of it is held, though its connection stays open."""
    monkeypatch.setattr(bounds, "END_TIMEOUT_S", 0.3)
    engine = FakeEngine(fake_spec("fake", dim=50_000))  # more than a client's window in each answer
    asked = message_of(request(PIXELS).SerializeToString())
    async with serving(engine, kserve=True, stall_timeout_s=0.2) as server, wire_to(server.port, window=4096) as mute:
        number = mute.call("/inference.GRPCInferenceService/ModelStreamInfer", asked * 4)
        requests, places = server.requests, server.parts.entrance.places
        assert requests is not None
        await until(lambda: any(record.msg == "session_stalled" for record in caplog.records))
        await until(lambda: (requests.open_streams, places.taken, server.runtime.open_sessions) == (0, 0, 0))
        assert server.runtime.statistics().held_answer_bytes == 0
        door = server.doors[0]
        assert isinstance(door, GrpcServer)
        await until(lambda: len(door.admission.endings) == 0)
        async with kserve_stub(server) as stub:  # gRPC keeps the newest call of all
            assert len(rows(await stub.ModelInfer(small("1")))) == 1
        await until(lambda: mute.reset == {number})


# What is held.


async def test_vectors_are_held_until_their_answer_is_written() -> None:
    """In the account that admission looks at: so clients that do not read have no more of them than it allows."""
    engine = FakeEngine(fake_spec("fake", dim=50_000))
    one = 8 * 50_000 * 4
    limits = {"max_answer_bytes": 2 * one, "max_held_answer_bytes": 4 * one, "max_parked_bytes": 2**28}
    async with serving(engine, kserve=True, **limits) as server, kserve_stub(server, FIXED) as stub:
        call = stub.ModelStreamInfer()
        for number in range(6):
            await call.write(request(tensor(8, number), id=str(number)))
        await call.done_writing()
        await until(lambda: server.runtime.statistics().parked_frames > 0)
        held = server.runtime.statistics()
        assert 2 * one <= held.held_answer_bytes <= 4 * one
        assert await ids(call, 6) == [str(number) for number in range(6)]
        await until(lambda: server.runtime.statistics().held_answer_bytes == 0)


SINGLE = ("inference.GRPCInferenceService/ModelInfer", "reidstream.v1.EmbeddingService/Embed")


@pytest.mark.parametrize("method", SINGLE)
async def test_vectors_of_a_single_call_are_held_until_it_is_over(method: str) -> None:
    """A client that takes no answer has them in its account, until it leaves; whichever service it calls."""
    engine = FakeEngine(fake_spec("fake", dim=50_000))
    if "Embed" in method:
        options = session_pb2.EmbedOptions(camera_id="c")
        one_box = frame(1, boxes=[box(10, 10, 60, 120)]).frame
        asked = service_pb2.EmbedRequest(options=options, frame=one_box).SerializeToString()
    else:
        asked = request(PIXELS).SerializeToString()
    async with serving(engine, kserve=True) as server, wire_to(server.port, window=4096) as mute:
        counts = server.parts.counts
        assert counts is not None
        call = mute.call(f"/{method}", message_of(asked), half_close=True)
        await until(lambda: counts.of(server.runtime.models.default.index).success.count == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.runtime.statistics().held_answer_bytes == 50_000 * 4
        mute.leave(call)
        await until(lambda: server.runtime.statistics().held_answer_bytes == server.runtime.open_sessions == 0)


async def test_vectors_of_an_answer_that_is_ready_just_when_its_stream_ends_are_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for it any more, and nobody would ever write it."""
    handlers: list[asyncio.Task[Any] | None] = []
    serve, answer = InferStream.serve, Inference.answer

    async def noticed(stream: InferStream) -> Any:
        handlers.append(asyncio.current_task())
        return await serve(stream)

    async def late(inference: Inference, taken: Any) -> Any:
        found = await answer(inference, taken)
        if handlers:
            assert handlers[0] is not None
            handlers[0].cancel()
        return found

    monkeypatch.setattr(InferStream, "serve", noticed)
    monkeypatch.setattr(Inference, "answer", late)
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()
        await call.write(small("1"))
        await until(lambda: handlers and handlers[0] is not None and handlers[0].done())
        await until(lambda: server.runtime.statistics().held_answer_bytes == server.runtime.open_sessions == 0)
        assert server.parts.entrance.places.taken == 0
        call.cancel()


async def test_a_stream_has_so_many_requests_in_progress_and_is_not_read_beyond() -> None:
    """However many it sends."""
    gate = Gate()
    engine = FakeEngine(max_batch=1, slots=1, script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    async with serving(engine, kserve=True) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()

        async def send() -> None:
            for number in range(MOST_IN_PROGRESS + 20):
                await call.write(small(str(number)))

        sending = asyncio.create_task(send())
        await until(lambda: server.runtime.open_sessions == MOST_IN_PROGRESS)
        await until(lambda: gate.entered)
        assert server.parts.entrance.places.taken == MOST_IN_PROGRESS
        gate.opened.set()
        assert await ids(call, MOST_IN_PROGRESS + 20) == [str(number) for number in range(MOST_IN_PROGRESS + 20)]
        await sending
        call.cancel()


# Who pays.

UNREAD = Tensor("input", "FP64", [2**17], bytes(2**20))


@pytest.mark.parametrize("streams", [False, True])
async def test_a_request_that_is_refused_is_paid_for(monkeypatch: pytest.MonkeyPatch, *, streams: bool) -> None:
    """By what reading it took; one that is answered is not."""
    charged: list[int] = []
    monkeypatch.setattr(Runtime, "charge", lambda *given: charged.append(given[-1]))
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        asked = request(UNREAD, id="1")
        if streams:
            call = stub.ModelStreamInfer()
            await call.write(small("0"))
            assert not (await said(call)).error_message
            assert charged == []
            await call.write(asked)
            assert (await said(call)).error_message
            call.cancel()
        else:
            await stub.ModelInfer(small("0"))
            assert charged == []
            with pytest.raises(grpc.aio.AioRpcError, match="FP64"):
                await stub.ModelInfer(asked)
    (spent_ns,) = charged
    assert spent_ns > 2**20 * JOINING_NS_PER_BYTE if not streams else spent_ns > 0


async def test_a_request_of_a_stream_that_finds_no_place_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read for nothing. The others of its stream are answered."""
    charged: list[int] = []
    monkeypatch.setattr(Runtime, "charge", lambda *given: charged.append(given[-1]))
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    async with serving(engine, kserve=True, max_calls=4) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()
        for number in range(3):
            await call.write(small(str(number)))
        await until(lambda: charged)
        gate.opened.set()
        found = [await said(call) for _ in range(3)]
        call.cancel()
    assert [bool(answer.error_message) for answer in found] == [False, False, True]
    assert "(max_calls)" in found[2].error_message
    assert [spent_ns > 0 for spent_ns in charged] == [True]


async def test_a_long_question_is_not_parsed_and_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it asks for."""
    charged: list[int] = []
    monkeypatch.setattr(Runtime, "charge", lambda *given: charged.append(given[-1]))
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="the limit is 65536"):
            await stub.ModelStatistics(pb.ModelStatisticsRequest(name="x" * 100_000))
    assert [spent_ns > 0 for spent_ns in charged] == [True]


async def test_a_source_that_pays_is_not_read_and_others_are() -> None:
    """Its next request waits; one of another connection does not."""
    async with serving(kserve=True) as server, kserve_stub(server) as stub, kserve_stub(server) as other:
        with pytest.raises(grpc.aio.AioRpcError, match="FP64"):
            await stub.ModelInfer(request(Tensor("input", "FP64", [1], bytes(40 * 2**20))))
        waiting = asyncio.ensure_future(stub.ModelInfer(small("1")))
        await until(lambda: server.runtime.statistics().paused_sources == 1)
        assert len(rows(await other.ModelInfer(small("2")))) == 1
        assert len(rows(await waiting)) == 1


async def test_open_streams_are_in_the_account_of_memory() -> None:
    """A line of the budget, which clients are told; and what is held of it now."""
    async with (
        serving(kserve=True, max_sessions=8) as server,
        kserve_stub(server) as stub,
        stub_of(server.port) as embedding,
    ):
        call = stub.ModelStreamInfer()
        await call.write(small("1"))
        assert await ids(call, 1) == ["1"]
        samples = await asyncio.to_thread(memory_of, server)
        told = (await embedding.GetModel(service_pb2.GetModelRequest())).memory
        call.cancel()
    assert samples["reidstream_memory_bytes", "streams"] == REQUEST_STREAM_BYTES
    assert samples["reidstream_memory_limit_bytes", "streams"] == 8 * REQUEST_STREAM_BYTES
    (line,) = (part for part in told.parts if part.name == "streams")
    assert (line.max_bytes, line.max_client_bytes) == (8 * REQUEST_STREAM_BYTES, 4 * REQUEST_STREAM_BYTES)
    assert line.setting == "max_sessions"


def memory_of(server: RunningServer) -> dict[tuple[str, ...], float]:
    """The samples of parts of the memory."""
    return {
        (sample.name, sample.labels["part"]): sample.value
        for family in server.parts.registry.collect()
        for sample in family.samples
        if "part" in sample.labels
    }
