"""The open inference protocol on the gRPC port: what it tells, what it refuses, and its streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, fake_spec
from reidstream_engines.protocol import TensorCrop
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_proto.v1 import contract
from reidstream_server.app import running_server
from reidstream_server.core.terms import DrainReason
from reidstream_server.loading import Engines
from tests.support.gate import Gate
from tests.support.harness import JPEG, encode, picture, serving, settings, until
from tests.support.kserve import Stub, Tensor, kserve_stub, request, rows

SHAPE = (3, 256, 128)
MODEL = "fake"


def crops(count: int = 1, seed: int = 0, dtype: str = "<f4") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(dtype)


def tensor(count: int = 1, seed: int = 0) -> Tensor:
    return Tensor.of("input", crops(count, seed))


async def refused(call: object) -> tuple[grpc.StatusCode, str]:
    """The status that ends a call, and its message."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call  # type: ignore[misc]
    return error.value.code(), str(error.value.details())


def served_models() -> Sequence[FakeEngine]:
    return FakeEngine(fake_spec("fake", dim=4)), FakeEngine(fake_spec("other", dim=8))


async def test_a_model_is_described_by_its_own_names_and_shapes() -> None:
    """As clients compare them with what they mean to send."""
    async with serving(*served_models(), kserve=True) as server, kserve_stub(server) as stub:
        metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="other", version="1"))
        config = (await stub.ModelConfig(pb.ModelConfigRequest(name="other"))).config
        about = await stub.ServerMetadata(pb.ServerMetadataRequest())
        index = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    (taken,), (given,) = metadata.inputs, metadata.outputs
    assert (metadata.name, list(metadata.versions)) == ("other", ["1"])
    assert (taken.name, taken.datatype, list(taken.shape)) == ("input", "FP32", [-1, *SHAPE])
    assert (given.name, given.datatype, list(given.shape)) == ("embedding", "FP32", [-1, 8])
    (first,), (last,) = config.input, config.output
    assert (first.name, first.data_type, first.format) == ("input", pb.TYPE_FP32, pb.ModelInput.FORMAT_NCHW)
    assert (list(first.dims), list(last.dims), last.data_type) == (list(SHAPE), [8], pb.TYPE_FP32)
    assert config.max_batch_size == 169  # so many are in one message
    assert config.parameters["space_id"].string_value == fake_spec("other", dim=8).space_id
    assert not config.model_transaction_policy.decoupled
    assert (about.name, "statistics" in about.extensions) == ("reidstream", True)
    assert [(model.name, model.version, model.state) for model in index.models] == [
        ("fake", "1", "READY"),
        ("other", "1", "READY"),
    ]


async def test_requests_are_answered_with_their_ids_and_rows() -> None:
    """Typed contents are as good as bytes."""
    numbers = crops(2)
    plain = request(Tensor.of("input", numbers), model="other", id="7", outputs=["embedding"])
    typed = request(model="other")
    typed.inputs.add(name="input", datatype="FP32", shape=numbers.shape).contents.fp32_contents.extend(
        numbers.ravel().tolist()
    )
    async with serving(*served_models(), kserve=True) as server, kserve_stub(server) as stub:
        answer = await stub.ModelInfer(plain)
        again = await stub.ModelInfer(typed)
    assert (answer.model_name, answer.model_version, answer.id) == ("other", "1", "7")
    assert (answer.outputs[0].name, list(answer.outputs[0].shape)) == ("embedding", [2, 8])
    assert not np.array_equal(*rows(answer))
    assert np.array_equal(rows(again), rows(answer))


async def test_pixels_may_be_typed() -> None:
    """One crop; more have more structure than a message may."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, *SHAPE), np.uint8)
    typed = request(model=MODEL)
    typed.inputs.add(name="input", datatype="UINT8", shape=pixels.shape).contents.uint_contents.extend(
        pixels.ravel().tolist()
    )
    many = request(model=MODEL)
    many.inputs.add(name="input", datatype="UINT8", shape=(4, *SHAPE)).contents.uint_contents.extend(
        np.tile(pixels, (4, 1, 1, 1)).ravel().tolist()
    )
    typed_float = request(model=MODEL)
    typed_float.inputs.add(name="input", datatype="FP16", shape=(1, *SHAPE)).contents.fp32_contents.append(1.0)
    large = request(model=MODEL)
    large.inputs.add(name="input", datatype="UINT8", shape=(1, 1)).contents.uint_contents.append(256)
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        found = rows(await stub.ModelInfer(typed))
        assert np.array_equal(found, rows(await stub.ModelInfer(request(Tensor.of("input", pixels), model=MODEL))))
        for message, said in ((many, "beside its pixels"), (typed_float, "raw_input_contents"), (large, "is 255")):
            status, text = await refused(stub.ModelInfer(message))
            assert (status, said in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), text


def wrong(name: str = "input", datatype: str = "FP32", shape: Sequence[int] = (1, *SHAPE), size: int = 0) -> Tensor:
    return Tensor(name, datatype, shape, bytes(size or 4 * int(np.prod(SHAPE))))


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
ONE_BOX = Tensor.of("boxes", np.zeros((1, 4), np.float32))
BAD: dict[str, tuple[pb.ModelInferRequest, grpc.StatusCode, str]] = {
    "model": (request(tensor(), model="nobody"), NOT_FOUND, "unknown model 'nobody'; this server has fake"),
    "version": (request(tensor(), model=MODEL, model_version="2"), NOT_FOUND, "no version '2'; it has '1'"),
    "name": (request(wrong("inputs"), model=MODEL), INVALID, "inputs 'inputs'; model 'fake' takes 'input'"),
    "none": (request(model=MODEL), INVALID, "the inputs none"),
    "twice": (request(tensor(), tensor(), model=MODEL), INVALID, "'input', 'input'"),
    "output": (request(tensor(), model=MODEL, outputs=["fc"]), INVALID, "output 'fc' is asked for"),
    "datatype": (request(wrong(datatype="FP64"), model=MODEL), INVALID, "as FP32, FP16 or UINT8 [N, 3, 256, 128]"),
    "no batch": (request(wrong(shape=SHAPE), model=MODEL), INVALID, "is FP32 [3, 256, 128]"),
    "other size": (request(wrong(shape=(1, 3, 128, 64)), model=MODEL), INVALID, "is FP32 [1, 3, 128, 64]"),
    "NHWC": (request(wrong(shape=(1, 256, 128, 3)), model=MODEL), INVALID, "is FP32 [1, 256, 128, 3]"),
    "bytes": (
        request(wrong(size=8), model=MODEL),
        INVALID,
        "has 8 bytes; FP32 of the shape [1, 3, 256, 128] has 393216",
    ),
    "empty": (request(wrong(shape=(0, *SHAPE)), model=MODEL), INVALID, "send at least one crop"),
    "negative": (request(wrong(shape=(-1, *SHAPE)), model=MODEL), INVALID, "no side may be negative"),
    "contents": (
        pb.ModelInferRequest(
            model_name=MODEL,
            inputs=[
                pb.ModelInferRequest.InferInputTensor(
                    name="input",
                    datatype="FP32",
                    shape=[1, *SHAPE],
                    contents=pb.InferTensorContents(fp64_contents=[1.0]),
                )
            ],
        ),
        INVALID,
        "has fp64_contents; it must be fp32_contents",
    ),
    "count": (pb.ModelInferRequest(model_name=MODEL, raw_input_contents=[b""]), INVALID, "has 1 items for 0 inputs"),
    "no element": (request(Tensor("image", "BYTES", [1], b"abc"), ONE_BOX, model=MODEL), INVALID, "its length in four"),
    "elements": (
        request(Tensor("image", "BYTES", [2], bytes(8)), ONE_BOX, model=MODEL),
        INVALID,
        "one picture at a time",
    ),
    "no picture": (request(Tensor.picture(b"words"), ONE_BOX, model=MODEL), INVALID, "not a picture"),
    "boxes": (
        request(Tensor.picture(JPEG), Tensor.of("boxes", np.zeros((2, 3), np.float32)), model=MODEL),
        INVALID,
        "x1, y1, x2, y2 in its pixels",
    ),
    "sides": (
        request(Tensor("image", "BYTES", [2**62] * 30_000, bytes(8)), ONE_BOX, model=MODEL),
        INVALID,
        "has a shape of 30000 sides; the most is 8",
    ),
    "overflow": (
        request(Tensor("image", "UINT8", [2**62, 4, 1, 3], b""), model=MODEL),
        INVALID,
        "boxes; the limit is",
    ),
    "boxes overflow": (
        request(Tensor.picture(JPEG), Tensor("boxes", "FP32", [2**62, 4], b""), model=MODEL),
        INVALID,
        "has 0 bytes; FP32 of the shape",
    ),
    "three inputs": (request(tensor(), tensor(), tensor(), model=MODEL), INVALID, "has 3 inputs; the most is 2"),
    "two outputs": (request(tensor(), model=MODEL, outputs=["embedding"] * 2), INVALID, "has 2 outputs"),
    "id": (request(tensor(), model=MODEL, id="\u00e9" * 513), INVALID, "the id of the request has 513 characters"),
    "no pixels": (request(Tensor("image", "UINT8", (1, 0, 5, 3), b""), model=MODEL), INVALID, "at least 1"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_is_said(case: str) -> None:
    """And the next request is answered."""
    message, status, said = BAD[case]
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        found, text = await refused(stub.ModelInfer(message))
        assert (found, said in text) == (status, True), text
        assert rows(await stub.ModelInfer(request(tensor(), model=MODEL))).shape == (1, 32)


@pytest.mark.parametrize(
    ("where", "name", "said"),
    [
        ("inputs", "shared_memory_region", "lies in shared memory"),
        ("outputs", "shared_memory_region", "lies in shared memory"),
        ("outputs", "classification", "it is a vector, not scores"),
    ],
)
async def test_what_this_server_has_not_is_refused(where: str, name: str, said: str) -> None:
    """By the parameters of a tensor."""
    message = request(tensor(), model=MODEL, outputs=["embedding"])
    getattr(message, where)[0].parameters[name].string_param = "x"
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        status, text = await refused(stub.ModelInfer(message))
    assert (status, said in text) == (INVALID, True), text


async def test_bounds_of_frames_are_those_of_requests() -> None:
    """A request's crops are its boxes."""
    async with serving(kserve=True, max_boxes_per_frame=3) as server, kserve_stub(server) as stub:
        assert (await stub.ModelConfig(pb.ModelConfigRequest(name=MODEL))).config.max_batch_size == 3
        assert len(rows(await stub.ModelInfer(request(tensor(3), model=MODEL)))) == 3
        assert (await refused(stub.ModelInfer(request(tensor(4), model=MODEL)))) == (
            INVALID,
            "4 boxes; the limit is 3 (max_boxes_per_frame)",
        )


async def test_a_box_without_a_vector_is_a_row_of_nan_and_a_crop_fails_its_request() -> None:
    """Whoever sends N crops counts on N rows; detectors send boxes that cannot be cut."""
    boxes = np.array([[10, 10, 60, 120], [900, 900, 950, 990]], np.float32)
    poisoned = FakeEngine(
        script=FakeScript(poison=lambda crop: isinstance(crop, TensorCrop) and crop.tensor[0, 0, 0] == 1)
    )
    numbers = crops(3)
    numbers[1, 0, 0, 0] = 1
    async with serving(poisoned, kserve=True, min_box_px=8) as server, kserve_stub(server) as stub:
        found = rows(await stub.ModelInfer(request(Tensor.picture(JPEG), Tensor.of("boxes", boxes), model=MODEL)))
        assert np.isnan(found).all(axis=1).tolist() == [False, True]
        assert await refused(stub.ModelInfer(request(Tensor.of("input", numbers), model=MODEL))) == (
            grpc.StatusCode.INTERNAL,
            "crop 1 has no vector: its outcome is failed",
        )
        tiny = Tensor.of("image", np.zeros((1, 4, 4, 3), np.uint8))
        assert await refused(stub.ModelInfer(request(tiny, model=MODEL))) == (
            INVALID,
            "crop 0 has no vector: its outcome is too_small",
        )


async def test_a_timeout_is_the_budget_of_the_request() -> None:
    """In microseconds: what waits for longer is given up."""
    gate = Gate()
    engine = FakeEngine(max_batch=1, slots=1, script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    message = request(tensor(), model=MODEL)
    message.parameters["timeout"].int64_param = 1500
    async with serving(engine, kserve=True) as server, kserve_stub(server) as stub:
        first = asyncio.ensure_future(stub.ModelInfer(request(tensor(), model=MODEL)))
        await until(lambda: gate.entered)
        status, text = await refused(stub.ModelInfer(message))
        gate.opened.set()
        await first
    assert (status, "budget" in text) == (grpc.StatusCode.DEADLINE_EXCEEDED, True), text


async def test_a_request_waits_for_room_where_the_queue_is_full() -> None:
    """Clients of the protocol do not come back by themselves. Its bytes count as those of frames that wait."""
    gate = Gate()
    engine = FakeEngine(max_batch=1, slots=1, script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    limits = {"max_queue_boxes": 4, "max_boxes_per_frame": 2}
    async with serving(engine, kserve=True, **limits) as server, kserve_stub(server) as stub:
        calls = [asyncio.ensure_future(stub.ModelInfer(request(tensor(2, seed), model=MODEL))) for seed in range(4)]
        await until(lambda: server.runtime.statistics().parked_frames)
        assert server.runtime.statistics().parked_bytes >= 2 * 4 * np.prod(SHAPE)
        gate.opened.set()
        assert [len(rows(answer)) for answer in await asyncio.gather(*calls)] == [2] * 4


async def test_a_method_that_is_not_offered_says_what_to_do() -> None:
    """By every name of the protocol."""
    async with serving(kserve=True) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        path = "/inference.GRPCInferenceService/"
        for method, said in (("SystemSharedMemoryRegister", "in the message"), ("LogSettings", "--log-level")):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path + method, bytes, bytes)
            status, text = await refused(call(b""))
            assert (status, said in text) == (grpc.StatusCode.UNIMPLEMENTED, True), text


async def test_nobody_hears_of_it_where_it_is_off() -> None:
    """It is off unless it is asked for."""
    async with serving() as server, kserve_stub(server) as stub:
        assert (await refused(stub.ServerLive(pb.ServerLiveRequest())))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_strangers_are_refused(tmp_path: Path) -> None:
    """As on the stream."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    right = [("authorization", "Bearer right")]
    async with serving(kserve=True, tokens_file=tokens) as server, kserve_stub(server) as stub:
        for call in (
            stub.ServerLive(pb.ServerLiveRequest()),
            stub.ModelInfer(request(tensor(), model=MODEL)),
        ):
            assert (await refused(call))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await stub.ServerLive(pb.ServerLiveRequest(), metadata=right)).live
        assert len(rows(await stub.ModelInfer(request(tensor(), model=MODEL), metadata=right))) == 1


async def test_while_the_server_leaves_it_is_not_ready_and_takes_nothing() -> None:
    """Clients may ignore that it is not ready; what they ask next is UNAVAILABLE. What was accepted is answered."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    async with serving(engine, kserve=True) as server, kserve_stub(server) as stub:
        accepted = asyncio.ensure_future(stub.ModelInfer(request(tensor(), model=MODEL)))
        await until(lambda: gate.entered)
        server.runtime.leave()
        draining = asyncio.create_task(server.runtime.drain(DrainReason.SHUTDOWN, 60.0))
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert not (await stub.ModelReady(pb.ModelReadyRequest(name=MODEL))).ready
        for call in (
            stub.ModelConfig(pb.ModelConfigRequest(name=MODEL)),
            stub.ModelInfer(request(tensor(), model=MODEL)),
        ):
            assert (await refused(call))[0] is grpc.StatusCode.UNAVAILABLE
        gate.opened.set()
        assert len(rows(await accepted)) == 1
        assert await draining


async def test_a_pipeline_of_deepstream_gets_what_it_asks_for() -> None:
    """In the order in which its element asks; it names no version, or -1 for the newest."""
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        for version in ("", "-1"):
            assert (await stub.ModelReady(pb.ModelReadyRequest(name=MODEL, version=version))).ready
            config = (await stub.ModelConfig(pb.ModelConfigRequest(name=MODEL, version=version))).config
            sent = Tensor.of(config.input[0].name, crops(4))
            answer = await stub.ModelInfer(
                request(sent, model=MODEL, model_version=version, outputs=[config.output[0].name])
            )
            assert rows(answer).shape == (4, config.output[0].dims[0])


async def test_readiness_is_told_by_name() -> None:
    """A model that is not there is not ready."""
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        ready = [
            (await stub.ModelReady(pb.ModelReadyRequest(name=name, version=version))).ready
            for name, version in ((MODEL, ""), (MODEL, "1"), (MODEL, "2"), ("nobody", ""))
        ]
    assert ready == [True, True, False, False]


async def test_statistics_count_what_every_door_did() -> None:
    """Crops, batches, requests, and where their time went."""
    failing = FakeEngine(script=FakeScript(failing_batches=frozenset({2, 3, 4})))
    async with serving(failing, kserve=True) as server, kserve_stub(server) as stub:
        await stub.ModelInfer(request(tensor(3), model=MODEL))
        await stub.ModelInfer(request(tensor(2), model=MODEL))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(request(tensor(1), model=MODEL))
        (found,) = (await stub.ModelStatistics(pb.ModelStatisticsRequest(name=MODEL))).model_stats
        (same,) = (await stub.ModelStatistics(pb.ModelStatisticsRequest())).model_stats
        assert (await refused(stub.ModelStatistics(pb.ModelStatisticsRequest(name="nobody"))))[0] is NOT_FOUND
    stats = found.inference_stats
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert (found.name, found.version, found.inference_count) == (MODEL, "1", 5)
    assert found.execution_count >= 3
    assert found.last_inference > 1_600_000_000_000
    assert stats.success.count == 3  # a frame whose crop failed is answered; the crop is what has no vector
    assert {part.count for part in parts} == {3}
    assert sum(part.ns for part in parts) == stats.success.ns
    assert same == found
    sizes = {one.batch_size: one.compute_infer for one in found.batch_stats}
    assert list(sizes) == sorted(sizes)
    assert sum(one.count for one in sizes.values()) == found.execution_count
    assert all(one.ns > 0 for one in sizes.values())
    assert sizes[1].count >= 1  # of the last request, whose batch failed


async def test_statistics_of_requests_whose_pictures_are_refused_have_no_parts() -> None:
    """They reached no batch, so there is nothing to cut their time into."""
    engine, stager = FakeEngine(), FakeStager(refuse=lambda _: True)
    tiny = Tensor.of("image", np.zeros((1, 40, 40, 3), np.uint8))
    loaded = Engines(engines=(engine,), stager=stager)
    async with running_server(settings(kserve=True), loaded) as server, kserve_stub(server) as stub:
        assert (await refused(stub.ModelInfer(request(tiny, model=MODEL))))[0] is INVALID
        (found,) = (await stub.ModelStatistics(pb.ModelStatisticsRequest(name=MODEL))).model_stats
    assert (found.inference_stats.success.count, found.inference_stats.queue.count) == (1, 0)
    assert (found.inference_count, found.execution_count, found.last_inference) == (0, 0, 0)


# Streams.


async def sent(requests: Sequence[pb.ModelInferRequest]) -> AsyncIterator[pb.ModelInferRequest]:
    for one in requests:
        yield one


async def answer_of(call: Any) -> pb.ModelStreamInferResponse:
    """The next answer of a stream."""
    answer = await call.read()
    assert isinstance(answer, pb.ModelStreamInferResponse)
    return answer


async def streamed(stub: Stub, requests: Sequence[pb.ModelInferRequest]) -> list[pb.ModelStreamInferResponse]:
    """Answers to all of them, which are read when everything is sent and the stream half-closed."""
    return [answer async for answer in stub.ModelStreamInfer(sent(requests))]


async def test_a_stream_answers_every_request_in_order_after_the_half_close() -> None:
    """More than it has in progress at a time, of which nothing is read before all are sent."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    asked = [request(tensor(1, seed), model=MODEL, id=str(seed)) for seed in range(100)]
    async with serving(engine, kserve=True) as server, kserve_stub(server) as stub:
        answers = asyncio.create_task(streamed(stub, asked))
        await until(lambda: gate.entered)
        gate.opened.set()
        found = await answers
        alone = rows(await stub.ModelInfer(asked[50]))
    assert [answer.infer_response.id for answer in found] == [str(number) for number in range(100)]
    assert not any(answer.error_message for answer in found)
    assert np.array_equal(rows(found[50].infer_response), alone)


async def test_what_is_wrong_with_one_request_of_a_stream_is_its_answer() -> None:
    """The others are answered, before and after it."""
    asked = [
        request(tensor(), model=MODEL, id="1"),
        request(wrong(size=8), model=MODEL, id="2"),
        request(tensor(), model="nobody", id="3"),
        request(tensor(2), model=MODEL, id="4"),
    ]
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        found = await streamed(stub, asked)
    assert [answer.infer_response.id for answer in found] == ["1", "2", "3", "4"]
    assert [bool(answer.error_message) for answer in found] == [False, True, True, False]
    assert "has 8 bytes" in found[1].error_message
    assert "unknown model" in found[2].error_message


async def test_a_stream_says_that_an_answer_is_the_last_to_whom_asks() -> None:
    """Load generators count on it."""
    asked = request(tensor(), model=MODEL)
    asked.parameters["triton_enable_empty_final_response"].bool_param = True
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        last, plain = await streamed(stub, [asked, request(tensor(), model=MODEL)])
    assert last.infer_response.parameters["triton_final_response"].bool_param
    assert not plain.infer_response.parameters


async def test_bytes_that_are_no_request_are_answered_in_their_place() -> None:
    """The stream goes on."""
    good = request(tensor(), model=MODEL, id="2").SerializeToString()
    async with serving(kserve=True) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer", bytes, bytes
        )
        call = method()
        for message in (b"\xff", good):
            await call.write(message)
        await call.done_writing()
        found = [pb.ModelStreamInferResponse.FromString(answer) async for answer in call]
    assert "cannot be parsed" in found[0].error_message
    assert found[1].infer_response.id == "2"


async def test_a_stream_whose_client_leaves_gives_everything_back() -> None:
    """Its sessions, its places, and its own."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1, sleep=gate.wait))
    async with serving(engine, kserve=True) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()
        for seed in range(5):
            await call.write(request(tensor(1, seed), model=MODEL))
        await until(lambda: server.runtime.open_sessions == 5)
        call.cancel()
        await until(lambda: not server.runtime.open_sessions and not server.parts.entrance.places.taken)
        gate.opened.set()
        assert len(await streamed(stub, [request(tensor(), model=MODEL)])) == 1


async def test_a_request_of_a_stream_has_its_place_until_its_answer_is_written() -> None:
    """So a client that reads nothing has no more answers held for it than it may have calls."""
    engine = FakeEngine(fake_spec("fake", dim=50_000))  # more than a client's window in each answer
    fixed = ("grpc.http2.bdp_probe", 0)  # else the window grows
    async with serving(engine, kserve=True) as server, kserve_stub(server, fixed) as stub:
        call, places = stub.ModelStreamInfer(), server.parts.entrance.places
        for seed in range(5):
            await call.write(request(tensor(8, seed), model=MODEL))
        await call.done_writing()
        counts = server.parts.counts
        assert counts is not None
        await until(lambda: counts.of(server.runtime.models.default.index).success.count == 5)
        assert places.taken >= 4
        assert len([answer async for answer in call]) == 5
        await until(lambda: not places.taken)


async def test_a_stream_is_ended_while_the_server_leaves_when_it_has_its_answers() -> None:
    """The next request ends it, with UNAVAILABLE."""
    async with serving(kserve=True) as server, kserve_stub(server) as stub:
        call = stub.ModelStreamInfer()
        await call.write(request(tensor(), model=MODEL, id="1"))
        assert (await answer_of(call)).infer_response.id == "1"
        server.runtime.leave()
        await call.write(request(tensor(), model=MODEL, id="2"))
        assert (await refused(call.read()))[0] is grpc.StatusCode.UNAVAILABLE
        trailing = {str(name): str(value) for name, value in await call.trailing_metadata()}
        assert trailing[contract.REASON_HEADER] == "going_away"


async def test_a_client_has_at_most_half_of_the_streams() -> None:
    """The others' half stays free."""
    async with serving(kserve=True, max_sessions=4) as server, kserve_stub(server) as stub:
        calls = []
        for number in range(2):
            call = stub.ModelStreamInfer()
            await call.write(request(tensor(), model=MODEL, id=str(number)))
            assert (await answer_of(call)).infer_response.id == str(number)
            calls.append(call)
        third = stub.ModelStreamInfer()
        assert (await refused(third.read()))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()


async def test_large_pictures_are_bounded_as_everywhere() -> None:
    """By the header, before anything is decoded."""
    huge = encode(picture(400, 300))
    async with serving(kserve=True, max_image_pixels=1000) as server, kserve_stub(server) as stub:
        status, text = await refused(stub.ModelInfer(request(Tensor.picture(huge), ONE_BOX, model=MODEL)))
    assert (status, "max_image_pixels" in text) == (INVALID, True)
