"""The open inference protocol on the HTTP port: its paths, its bodies, and what it says to those who ask wrongly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.transport.kserve.as_json import as_json
from reidstream_server.transport.kserve.http_body import MAX_JSON_BYTES
from tests.support.http import http_serving, http_to
from tests.support.kserve import Tensor, http_rows, infer_over_http, kserve_stub

SHAPE = (3, 256, 128)
MODEL = "fake"
INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"


def tensor(count: int = 1, dtype: str = "<f4") -> Tensor:
    return Tensor.of("input", np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(dtype))


async def test_the_paths_tell_what_the_methods_tell() -> None:
    """The same messages, as JSON: numbers are numbers, and nothing is left out."""
    engines = FakeEngine(fake_spec("fake", dim=4)), FakeEngine(fake_spec("other", dim=8))
    async with (
        http_serving(*engines, kserve=True) as server,
        http_to(server) as http,
        kserve_stub(server) as stub,
    ):
        expected = {
            "/v2": await stub.ServerMetadata(pb.ServerMetadataRequest()),
            "/v2/models/other": await stub.ModelMetadata(pb.ModelMetadataRequest(name="other")),
            "/v2/models/other/versions/1": await stub.ModelMetadata(pb.ModelMetadataRequest(name="other")),
            "/v2/models/other/config": (await stub.ModelConfig(pb.ModelConfigRequest(name="other"))).config,
            "/v2/models/other/versions/1/config": (await stub.ModelConfig(pb.ModelConfigRequest(name="other"))).config,
            "/v2/models/other/stats": await stub.ModelStatistics(pb.ModelStatisticsRequest(name="other")),
            "/v2/models/stats": await stub.ModelStatistics(pb.ModelStatisticsRequest()),
        }
        found = {path: (await http.ask("GET", path)).json for path in expected}
        index = (await http.ask("POST", "/v2/repository/index", b'{"ready": true}')).json
    assert found == {path: as_json(message) for path, message in expected.items()}
    assert found["/v2/models/other"]["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, *SHAPE]}]
    assert found["/v2/models/other/config"]["input"][0]["format"] == "FORMAT_NCHW"
    assert found["/v2/models/stats"]["model_stats"][0]["inference_count"] == 0
    assert [model["name"] for model in index] == ["fake", "other"]


async def test_readiness_is_a_status() -> None:
    """200 for yes; the answer has no body."""
    async with http_serving(kserve=True) as server, http_to(server) as http:
        paths = (
            "health/live",
            "health/ready",
            f"models/{MODEL}/ready",
            f"models/{MODEL}/versions/2/ready",
            "models/no/ready",
        )
        assert [(await http.ask("GET", f"/v2/{path}")).status for path in paths] == [200, 200, 200, 404, 404]
        server.runtime.leave()
        assert [(await http.ask("GET", f"/v2/{path}")).status for path in paths[:3]] == [200, 503, 503]


async def test_tensors_go_as_bytes_or_as_numbers_both_ways() -> None:
    """With the same vectors."""
    sent = tensor(2)
    numbers = np.frombuffer(sent.data, "<f4")
    item: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": sent.shape, "data": numbers.tolist()}
    body = {
        "id": "7",
        "inputs": [item],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
    }
    async with http_serving(kserve=True) as server, http_to(server) as http:
        answer = await infer_over_http(http, MODEL, sent, id="5")
        found = http_rows(answer)
        assert answer.headers["content-type"] == "application/octet-stream"
        head = json.loads(answer.body[: int(answer.headers["inference-header-content-length"])])
        assert (head["model_name"], head["model_version"], head["id"]) == (MODEL, "1", "5")
        assert np.array_equal(http_rows(await infer_over_http(http, MODEL, sent, binary=False)), found)
        again = await http.ask("POST", INFER, json.dumps(body).encode())
        assert np.array_equal(http_rows(again), found)
        item["data"] = numbers.reshape(sent.shape).astype(float).tolist()  # lists in lists
        assert np.array_equal(http_rows(await http.ask("POST", INFER, json.dumps(body).encode())), found)


def one(**changes: Any) -> dict[str, Any]:
    """A request with one tensor in JSON, which is too short."""
    item = {"name": "input", "datatype": "FP32", "shape": [1, *SHAPE], "data": [1.0]}
    return {"inputs": [{**item, **changes}]}


BAD: dict[str, tuple[object, Mapping[str, str], int, str]] = {
    "no JSON": (b"{", {}, 400, "not JSON"),
    "list": ([], {}, 400, "must be a JSON object"),
    "inputs": ({"inputs": {}}, {}, 400, "inputs must be a list"),
    "input": ({"inputs": [1]}, {}, 400, "inputs must be a JSON object"),
    "id": ({"id": 7}, {}, 400, "id must be text"),
    "timeout": ({"parameters": {"timeout": "1"}}, {}, 400, "parameters.timeout"),
    "none": ({}, {}, 400, "the inputs none"),
    "short": (one(), {}, 400, "has 4 bytes; FP32 of the shape"),
    "shape": (one(shape=[1.5]), {}, 400, "shape must be whole numbers"),
    "ragged": (one(data=[[1.0], [1.0, 2.0]]), {}, 400, "not of the same length"),
    "words": (one(data=["a"]), {}, 400, "what is not a number"),
    "a long word": (one(data=["x" * 1_000_000, *[""] * 500_000]), {}, 400, "what is not a number"),
    "a number and a list": (one(data=[1.0, [2.0]]), {}, 400, "what is not a number"),
    "a switch": (one(data=[1.0, True]), {}, 400, "what is not a number"),
    "null": (one(data=[[1.0], [None]]), {}, 400, "what is not a number"),
    "sides": (one(shape=[9] * 300_000), {}, 400, "is FP32 [9, 9, 9, 9, 9, 9, 9, 9, ...]"),
    "many inputs": ({"inputs": [{}] * 100_000}, {}, 400, "has 100000 inputs; the most is 2"),
    "long id": ({"id": "x" * 2000}, {}, 400, "the id of the request has 2000 characters"),
    "no data": (one(data=None), {}, 400, "has no data"),
    "pixels": (one(datatype="UINT8", data=[300]), {}, 400, "whole numbers from 0 to 255"),
    "text": (one(datatype="BYTES"), {}, 400, "send it as bytes"),
    "size": (one(parameters={"binary_data_size": 9}), {}, 400, "binary_data_size is 9, and 0 bytes are left"),
    "header": (one(), {LENGTH: "no"}, 400, "Inference-Header-Content-Length is 'no'"),
    "long header": (one(), {LENGTH: "9" * 5000}, 400, "Inference-Header-Content-Length is '999"),
    "more": (json.dumps(one()).encode() + b"more", {LENGTH: str(len(json.dumps(one())))}, 400, "4 bytes"),
    "gzip": (one(), {"Content-Encoding": "gzip"}, 400, "reads no compressed bodies"),
    "large": (b" " * (MAX_JSON_BYTES + 1), {}, 413, "send tensors as bytes"),
    "shared": (one(parameters={"shared_memory_region": "x"}), {}, 400, "lies in shared memory"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_is_said(case: str) -> None:
    """In `detail` as everywhere, and in `error`, where clients of the protocol look."""
    body, headers, status, said = BAD[case]
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http_serving(kserve=True) as server, http_to(server) as http:
        answer = await http.ask("POST", INFER, data, headers)
        assert (answer.status, said in answer.detail) == (status, True), answer.body
        assert answer.json["error"] == answer.detail
        assert http_rows(await infer_over_http(http, MODEL, tensor())).shape == (1, 32)


async def test_a_long_question_is_not_parsed() -> None:
    """It would hold the event loop for long."""
    async with http_serving(kserve=True) as server, http_to(server) as http:
        answer = await http.ask("POST", "/v2/repository/index", b'{"ready": [' + b"1," * 50_000 + b"1]}")
    assert (answer.status, "the limit is 65536" in answer.detail) == (413, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v2/models/nobody", 404, "unknown model 'nobody'"),
        ("GET", f"/v2/models/{MODEL}/versions/2/config", 404, "no version '2'"),
        ("POST", "/v2/systemsharedmemory/region/r/register", 501, "in the message"),
        ("GET", "/v2/logging", 501, "--log-level"),
        ("POST", "/v2/repository/models/x/load", 501, "--model"),
    ],
)
async def test_what_is_not_there_is_said(method: str, path: str, status: int, said: str) -> None:
    """As over gRPC."""
    async with http_serving(kserve=True) as server, http_to(server) as http:
        answer = await http.ask(method, path)
    assert (answer.status, said in answer.json["error"]) == (status, True), answer.body


async def test_strangers_are_refused_in_the_words_of_the_protocol(tmp_path: Path) -> None:
    """By the door, before a handler: `error` is there all the same. Health is everybody's."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"gate {hashlib.sha256(b'right').hexdigest()}\n")
    async with http_serving(kserve=True, tokens_file=tokens) as server, http_to(server) as http:
        answer = await http.ask("GET", "/v2")
        assert (answer.status, "token" in answer.json["error"]) == (401, True)
        assert (await http.ask("GET", "/v2", headers={"Authorization": "Bearer right"})).status == 200
        assert (await http.ask("GET", "/v2/health/live")).status == 200
        assert "error" not in (await http.ask("POST", "/embed")).json


async def test_nobody_hears_of_it_where_it_is_off() -> None:
    """The paths are not there."""
    async with http_serving() as server, http_to(server) as http:
        assert (await http.ask("GET", "/v2")).status == 404
