"""System shared memory on both wires: tensors where they lie, whose they are, and what hostile clients do to them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.errors import CallRefused
from reidstream_server.identity.access import Caller
from reidstream_server.memory.budget import Part
from reidstream_server.transport.kserve.regions import MAX_REGIONS, DoorRegions, Regions
from reidstream_server.transport.local_users import LocalUsers
from tests.support.gate import Gate
from tests.support.harness import JPEG, serving, until
from tests.support.http import http_serving, http_to
from tests.support.kserve import Array, Stub, Tensor, kserve_stub, request, rows
from tests.support.posix_memory import posix_memory

SHAPE = (3, 256, 128)
MODEL, DIM = "fake", 4
ROW = 4 * DIM
INVALID, DENIED, FULL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
ON: dict[str, object] = {"kserve": True, "kserve_shared_memory": True}


def model(**script: Any) -> FakeEngine:
    return FakeEngine(fake_spec(MODEL, dim=DIM), max_batch=4, script=FakeScript(**script))


def crops(count: int = 2, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype("<f4")


def memory(size: int = 2**20, data: bytes = b"") -> AbstractContextManager[Path]:
    return posix_memory(size, data)


async def register(stub: Stub, name: str, file: Path, offset: int = 0, size: int | None = None) -> None:
    await stub.SystemSharedMemoryRegister(
        pb.SystemSharedMemoryRegisterRequest(
            name=name,
            key=f"/{file.name}",
            offset=offset,
            byte_size=file.stat().st_size if size is None else size,  # noqa: ASYNC240 - of memory
        )
    )


def shared(
    count: int = 2,
    *,
    region: str = "crops",
    offset: int | None = None,
    size: int | None = None,
    into: tuple[str, int, int] | None = None,
) -> pb.ModelInferRequest:
    """A request whose input, and perhaps whose output (region, offset, size), lies in regions."""
    message = pb.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="input", datatype="FP32", shape=(count, *SHAPE))
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = crops(count).nbytes if size is None else size
    if offset is not None:
        tensor.parameters["shared_memory_offset"].int64_param = offset
    if into is not None:
        output = message.outputs.add(name="embedding")
        output.parameters["shared_memory_region"].string_param = into[0]
        output.parameters["shared_memory_offset"].int64_param = into[1]
        output.parameters["shared_memory_byte_size"].int64_param = into[2]
    return message


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), str(error.value.details())


async def test_tensors_in_shared_memory_have_the_rows_of_tensors_in_messages() -> None:
    """Input and output, the one, the other, or both; at offsets of regions that have offsets."""
    numbers = crops()
    with memory(2**21, bytes(100) + numbers.tobytes()) as given, memory(4096) as taken:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            expected = rows(await stub.ModelInfer(request(Tensor.of("input", numbers), model=MODEL)))
            await register(stub, "crops", given, 60, 2**21 - 60)
            await register(stub, "rows", taken)
            assert np.array_equal(rows(await stub.ModelInfer(shared(offset=40))), expected)
            answer = await stub.ModelInfer(shared(offset=40, into=("rows", 24, 4000)))
            sent = request(Tensor.of("input", numbers), model=MODEL)
            sent.outputs.extend(shared(into=("rows", 1024, 2 * ROW)).outputs)
            await stub.ModelInfer(sent)
            (output,) = answer.outputs
            assert (list(output.shape), list(answer.raw_output_contents)) == ([2, DIM], [b""])
            for offset in (24, 1024):
                found = np.frombuffer(taken.read_bytes()[offset : offset + 2 * ROW], "<f4").reshape(2, DIM)
                assert np.array_equal(found, expected)


async def test_a_picture_and_its_boxes_may_lie_there() -> None:
    """One in a region, and the other in the message."""
    boxes = Tensor.of("boxes", np.array([[10, 10, 60, 120]], "<f4"))
    image = Tensor.picture(JPEG)
    mixed = request(image, boxes, model=MODEL)
    del mixed.raw_input_contents[0]
    mixed.inputs[0].parameters["shared_memory_region"].string_param = "picture"
    mixed.inputs[0].parameters["shared_memory_byte_size"].int64_param = len(image.data)
    with memory(data=image.data) as given:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            await register(stub, "picture", given)
            expected = rows(await stub.ModelInfer(request(image, boxes, model=MODEL)))
            assert np.array_equal(rows(await stub.ModelInfer(mixed)), expected)


async def test_a_stream_of_requests_may_use_regions() -> None:
    """What is wrong with one is its answer."""
    numbers = crops()
    with memory(2**20, numbers.tobytes()) as given, memory(4096) as taken:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            await register(stub, "crops", given)
            await register(stub, "rows", taken)
            expected = rows(await stub.ModelInfer(shared()))

            async def requests() -> AsyncIterator[pb.ModelInferRequest]:
                yield shared()
                yield shared(region="nobody")
                yield shared(into=("rows", 0, 4096))

            first, second, third = [answer async for answer in stub.ModelStreamInfer(requests())]
    assert np.array_equal(rows(first.infer_response), expected)
    assert "no region 'nobody'" in second.error_message
    assert list(third.infer_response.raw_output_contents) == [b""]


async def test_the_http_wire_does_the_same() -> None:
    """By the paths of the protocol, and with the same regions."""
    numbers = crops()
    with memory(2**20, numbers.tobytes()) as given, memory(4096) as taken:
        async with (
            http_serving(model(), **ON) as server,
            http_to(server) as http,
            kserve_stub(server) as stub,
        ):
            for name, file in (("crops", given), ("rows", taken)):
                path = f"/v2/systemsharedmemory/region/{name}/register"
                body = {"key": f"/{file.name}", "offset": 0, "byte_size": file.stat().st_size}
                assert (await http.ask("POST", path, json.dumps(body).encode())).status == 200
            place: dict[str, Any] = {"shared_memory_region": "crops", "shared_memory_byte_size": numbers.nbytes}
            into = {"shared_memory_region": "rows", "shared_memory_byte_size": 64, "shared_memory_offset": 8}
            item = {"name": "input", "datatype": "FP32", "shape": [2, *SHAPE], "parameters": place}
            said = {"inputs": [item], "outputs": [{"name": "embedding", "parameters": into}]}
            answer = (await http.ask("POST", f"/v2/models/{MODEL}/infer", json.dumps(said).encode())).json
            (output,) = answer["outputs"]
            assert output == {"name": "embedding", "datatype": "FP32", "shape": [2, DIM]}
            found = np.frombuffer(taken.read_bytes()[8 : 8 + 2 * ROW], "<f4").reshape(2, DIM)
            assert np.array_equal(found, rows(await stub.ModelInfer(shared())))
            doubled = {"inputs": [item | {"data": [1.0]}]}
            twice = await http.ask("POST", f"/v2/models/{MODEL}/infer", json.dumps(doubled).encode())
            assert (twice.status, "data beside" in twice.json["error"]) == (400, True)
            one = (await http.ask("GET", "/v2/systemsharedmemory/region/rows/status")).json
            assert one == [{"name": "rows", "key": f"/{taken.name}", "offset": 0, "byte_size": 4096}]
            names = [region["name"] for region in (await http.ask("GET", "/v2/systemsharedmemory/status")).json]
            assert names == ["crops", "rows"]
            assert (await http.ask("POST", "/v2/systemsharedmemory/region/rows/unregister")).status == 200
            assert (await http.ask("GET", "/v2/systemsharedmemory/region/rows/status")).status == 400
            assert (await http.ask("POST", "/v2/systemsharedmemory/unregister")).status == 200
            assert (await http.ask("POST", "/v2/cudasharedmemory/unregister")).status == 200
            assert (await http.ask("GET", "/v2/systemsharedmemory/status")).json == []


async def test_regions_are_told_and_go_with_unregister() -> None:
    """Whoever still names one is refused; what is gone already is no error."""
    with memory() as given:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            about = await stub.ServerMetadata(pb.ServerMetadataRequest())
            assert "system_shared_memory" in about.extensions
            await register(stub, "crops", given, 8, 2**19)
            await register(stub, "again", given)
            status = await stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
            assert set(status.regions) == {"crops", "again"}
            found = status.regions["crops"]
            assert (found.name, found.key, found.offset, found.byte_size) == ("crops", f"/{given.name}", 8, 2**19)
            assert "registered already" in (await refused(register(stub, "crops", given)))[1]
            for _ in range(2):
                await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name="crops"))
            assert "no region 'crops'" in (await refused(stub.ModelInfer(shared())))[1]
            one = pb.SystemSharedMemoryStatusRequest(name="crops")
            assert (await refused(stub.SystemSharedMemoryStatus(one)))[0] is INVALID
            await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
            assert not (await stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())).regions
            await stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest())


MIB = 2**20
WRONG: dict[str, tuple[pb.ModelInferRequest, str]] = {
    "unknown": (shared(region="nobody"), "this client has no region 'nobody'"),
    "beyond the end": (shared(offset=MIB - 8, size=16), f"do not lie within region 'crops', which has {MIB}"),
    "far beyond": (shared(offset=2**62), "do not lie within region"),
    "before the beginning": (shared(offset=-8), "do not lie within region"),
    "no bytes": (shared(size=0), "do not lie within region"),
    "other size than the shape": (shared(size=8), "has 8 bytes; FP32 of the shape [2, 3, 256, 128] has 786432"),
    "output beyond": (shared(into=("crops", MIB, 64)), "output 'embedding': 64 bytes at 1048576 do not lie"),
    "output too small": (shared(into=("crops", 0, 31)), "the output needs 32 bytes for 2 rows"),
    "output unknown": (shared(into=("nobody", 0, 64)), "no region 'nobody'"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said(case: str) -> None:
    """And the next request is answered."""
    message, said = WRONG[case]
    with memory(MIB, crops().tobytes()) as given:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            await register(stub, "crops", given)
            status, text = await refused(stub.ModelInfer(message))
            assert (status, said in text) == (INVALID, True), text
            assert len(rows(await stub.ModelInfer(shared()))) == 2


async def test_half_a_place_is_none() -> None:
    """A name without a size, a size without a name, and numbers that are none; and tensors that are in two places."""
    nameless, sizeless, odd, twice = shared(), shared(), shared(), shared()
    del nameless.inputs[0].parameters["shared_memory_region"]
    del sizeless.inputs[0].parameters["shared_memory_byte_size"]
    odd.inputs[0].parameters["shared_memory_offset"].bool_param = True
    twice.inputs[0].contents.fp32_contents.append(1.0)
    async with serving(model(), **ON) as server, kserve_stub(server) as stub:
        for message, said in (
            (nameless, "needs shared_memory_region"),
            (sizeless, "shared_memory_byte_size, a whole number"),
            (odd, "shared_memory_offset is a whole number"),
            (twice, "beside a place in shared memory"),
        ):
            status, text = await refused(stub.ModelInfer(message))
            assert (status, said in text) == (INVALID, True), text
        raw = shared()
        raw.raw_input_contents.append(b"1234")
        assert "raw_input_contents has 1 items for 0 inputs" in (await refused(stub.ModelInfer(raw)))[1]


async def test_a_client_that_cuts_its_file_off_gets_an_error_and_nothing_else_happens() -> None:
    """Before the request is read, and while it is computed. The process goes on."""
    gate = Gate()
    with memory(2**20, crops().tobytes()) as given, memory(64 * 2**10) as taken:
        engine = model(seconds_per_batch=1, sleep=gate.wait)
        async with serving(engine, **ON) as server, kserve_stub(server) as stub:
            await register(stub, "crops", given)
            await register(stub, "rows", taken)
            computing = asyncio.ensure_future(stub.ModelInfer(shared(into=("rows", 32 * 2**10, 4096))))
            await until(lambda: gate.entered)
            os.truncate(taken, 16)
            os.truncate(given, 100)
            gate.opened.set()
            for call in (computing, stub.ModelInfer(shared())):
                status, text = await refused(call)
                assert (status, "was cut off" in text) == (INVALID, True), text
            assert taken.stat().st_size == 16
            assert len(rows(await stub.ModelInfer(request(Tensor.of("input", crops()), model=MODEL)))) == 2


async def test_a_region_that_is_unregistered_while_it_is_used_is_still_there_for_that_request() -> None:
    """Its file is closed afterwards."""
    gate = Gate()
    with memory(2**20, crops().tobytes()) as given, memory(4096) as taken:
        engine = model(seconds_per_batch=1, sleep=gate.wait)
        async with serving(engine, **ON) as server, kserve_stub(server) as stub:
            await register(stub, "crops", given)
            await register(stub, "rows", taken)
            computing = asyncio.ensure_future(stub.ModelInfer(shared(into=("rows", 0, 4096))))
            await until(lambda: gate.entered)
            await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
            gate.opened.set()
            await computing
            assert np.any(np.frombuffer(taken.read_bytes()[: 2 * ROW], "<f4"))
            await until(lambda: not any(file.name in held for held in _open_files() for file in (given, taken)))


def _open_files() -> Sequence[str]:
    """Of this process, but for those that the test itself has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it is closed by now
            flags = (Path("/proc/self/fdinfo") / link.name).read_text(encoding="ascii")
            if int(flags.partition("flags:")[2].split()[0], 8) & os.O_NONBLOCK:  # as the server opens them
                found.append(str(link.readlink()))
    return found


async def test_another_clients_region_does_not_exist(tmp_path: Path) -> None:
    """It is not used, seen or unregistered, and its name is free for everybody else."""
    tokens = tmp_path / "tokens"
    lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")]
    tokens.write_text("".join(lines))
    alice, bob = ([("authorization", f"Bearer {name}")] for name in ("alice", "bob"))
    region = pb.SystemSharedMemoryRegisterRequest
    with memory(2**20, crops().tobytes()) as given, memory(2**20, crops(seed=1).tobytes()) as other:
        async with serving(model(), **ON, tokens_file=tokens) as server, kserve_stub(server) as stub:
            mine = region(name="crops", key=given.name, byte_size=2**20)
            await stub.SystemSharedMemoryRegister(mine, metadata=alice)
            expected = rows(await stub.ModelInfer(shared(), metadata=alice))
            for message in (shared(), shared(into=("crops", 0, 64))):
                assert (await refused(stub.ModelInfer(message, metadata=bob)))[0] is INVALID
            status = pb.SystemSharedMemoryStatusRequest()
            assert not (await stub.SystemSharedMemoryStatus(status, metadata=bob)).regions
            await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(), metadata=bob)
            its_own = region(name="crops", key=other.name, byte_size=2**20)
            await stub.SystemSharedMemoryRegister(its_own, metadata=bob)
            assert not np.array_equal(rows(await stub.ModelInfer(shared(), metadata=bob)), expected)
            assert np.array_equal(rows(await stub.ModelInfer(shared(), metadata=alice)), expected)


async def test_where_nothing_tells_clients_apart_regions_are_the_users() -> None:
    """Clients register on one connection and ask on others. Of another user nothing is taken (`test_region_file`)."""
    with memory(4096) as given:
        async with (
            serving(model(), **ON) as server,
            kserve_stub(server) as one,
            kserve_stub(server, ("grpc.use_local_subchannel_pool", 1)) as another,
        ):
            await register(one, "crops", given)
            status = await another.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
            assert set(status.regions) == {"crops"}


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        ("", "ipv4:192.0.2.7:4000"),
        ("alice", "ipv4:192.0.2.7:4000"),
        ("alice", "ipv6:%5B2001:db8::1%5D:4000"),
        ("", "ipv4:127.0.0.1:1"),
    ],
)
def test_only_programs_on_this_machine_have_regions(client: str, peer: str) -> None:
    """Not a client of another machine, whoever it is; nor one whose connection the kernel does not know."""
    door = DoorRegions(Regions(2**20), LocalUsers(lambda: 1))
    mine = door.of(Caller(client=client, source="s"), peer)
    with memory(4096) as given:
        for use in (
            lambda: mine.register("crops", given.name, 0, 4096),
            lambda: mine.status(""),
            lambda: mine.unregister(""),
        ):
            with pytest.raises(CallRefused, match="shared memory"):
                use()


async def test_regions_are_bounded_in_number_and_in_bytes() -> None:
    """For one client and in all; what is unregistered has room again."""
    with memory(96 * 2**10) as given:
        async with (
            serving(model(), **ON, max_kserve_region_bytes=128 * 2**10) as server,
            kserve_stub(server) as stub,
        ):
            assert "may have 65536" in (await refused(register(stub, "large", given)))[1]
            await register(stub, "half", given, 0, 2**15)
            await register(stub, "other half", given, 0, 2**15)
            status, text = await refused(register(stub, "more", given, 0, 1))
            assert (status, "unregister regions first" in text) == (FULL, True), text
            await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
            tries = [register(stub, f"r{number}", given, 0, 1) for number in range(MAX_REGIONS)]
            ends = await asyncio.gather(*tries, return_exceptions=True)
            full = [end for end in ends if isinstance(end, grpc.aio.AioRpcError) and end.code() is FULL]
            registered = ends.count(None)
            assert len(full) == MAX_REGIONS - registered
            assert MAX_REGIONS // 4 < registered <= MAX_REGIONS // 2


async def test_tensors_of_a_request_are_bounded_as_those_of_a_message() -> None:
    """They become the server's memory when they are read."""
    limits = {"max_message_bytes": 2**20, "max_boxes_per_frame": 4}
    with memory(2**21) as given:
        async with serving(model(), **ON, **limits) as server, kserve_stub(server) as stub:
            await register(stub, "crops", given)
            status, text = await refused(stub.ModelInfer(shared(4)))
            assert (status, "the limit for a request is" in text) == (INVALID, True), text
            assert len(rows(await stub.ModelInfer(shared(1)))) == 1


async def test_names_and_sizes_of_regions_are_checked() -> None:
    """Whatever comes."""
    with memory(4096) as given:
        async with serving(model(), **ON) as server, kserve_stub(server) as stub:
            for name, offset, size, said in (
                ("", 0, 1, "has 0 characters"),
                ("x" * 300, 0, 1, "has 300 characters"),
                ("r", 0, 0, "byte_size 0"),
                ("r", 2**64 - 1, 1, "are asked for"),
                ("r", 0, 4097, "are asked for"),
            ):
                status, text = await refused(register(stub, name, given, offset, size))
                assert (status, said in text) == (INVALID, True), text
            assert (await refused(register(stub, "r", given, 0, 2**64 - 1)))[0] is INVALID


async def test_it_is_off_unless_it_is_asked_for() -> None:
    """On both wires, with what to do."""
    said = "--kserve-shared-memory"
    async with http_serving(model(), kserve=True) as server, kserve_stub(server) as stub, http_to(server) as http:
        about = await stub.ServerMetadata(pb.ServerMetadataRequest())
        assert "system_shared_memory" not in about.extensions
        for call in (
            stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()),
            stub.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest(name="r", key="k", byte_size=1)),
            stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest()),
        ):
            status, text = await refused(call)
            assert (status, said in text) == (grpc.StatusCode.UNIMPLEMENTED, True), text
        assert said in (await refused(stub.ModelInfer(shared())))[1]
        answer = await http.ask("GET", "/v2/systemsharedmemory/status")
        assert (answer.status, said in answer.json["error"]) == (501, True)
        assert server.parts.budget.bytes_of(Part.REGIONS) == 0


async def test_regions_have_a_line_in_the_budget() -> None:
    """What the server writes into them may count as its own: pages belong to whoever writes first."""
    async with serving(model(), **ON, max_kserve_region_bytes=2**24) as server:
        assert server.parts.budget.bytes_of(Part.REGIONS) == 2**24
