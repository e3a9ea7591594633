"""POST /embed: what it takes, what it answers, and what it says to those who ask wrongly."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Mapping

import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from tests.support.gate import Gate
from tests.support.harness import JPEG, encode, frame, picture, real_engine, stream_to, stub_of, until
from tests.support.http import BOUNDARY, Answer, form, http_serving, http_to

CROP = encode(picture(64, 128, seed=3), ".png")
OTHER = encode(picture(40, 90, seed=4), ".png")
BOXES = "[[10, 10, 60, 120], [100, 20, 160, 200]]"


def numbers(vector: object) -> np.ndarray:
    return np.array(vector, dtype=np.float64).astype(np.float32)


async def test_one_file_is_answered_with_its_vector() -> None:
    """As numbers or as base64, of the same float32; beside it, what made it and how long it took."""
    async with http_serving(real_engine()) as server, http_to(server) as http:
        body, headers = form(CROP)
        answer = await http.ask("POST", "/embed", body, headers)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        found = answer.json
        assert found["dim"] == len(found["embedding"]) == server.runtime.models.default.spec.output.dim
        assert np.linalg.norm(found["embedding"]) == pytest.approx(1, abs=1e-6)
        assert (found["model"], found["space_id"]) == ("stripes", server.runtime.models.default.spec.space_id)
        assert 0 < found["timing"]["decoded_ns"] <= found["timing"]["sent_ns"]
        coded = (await http.ask("POST", "/embed?as_base64=true", body, headers)).json
        assert coded["dim"] == found["dim"]
        assert np.array_equal(np.frombuffer(base64.b64decode(coded["embedding"]), "<f4"), numbers(found["embedding"]))


async def test_vectors_are_those_of_the_stream_bit_for_bit() -> None:
    """In every form: a file, several, a frame with boxes, a body of its own, JSON, bytes and npy."""
    async with http_serving(real_engine()) as server, http_to(server) as http, stream_to(server) as stream:
        await stream.open()
        await stream.call.write(frame(1))
        streamed = np.frombuffer((await stream.result()).blocks[0].data, "<f4").reshape(2, -1)
        body, headers = form(JPEG, boxes=BOXES)
        boxes = (await http.ask("POST", "/embed", body, headers)).json["boxes"]
        assert np.array_equal(numbers([one["embedding"] for one in boxes]), streamed)
        for kind, read in (
            ("application/octet-stream", lambda data: np.frombuffer(data, "<f4").reshape(2, -1)),
            ("application/x-npy", lambda data: np.load(io.BytesIO(data))),
        ):
            path = "/embed?boxes=" + BOXES.replace(" ", "")
            answer = await http.ask("POST", path, JPEG, {"Content-Type": "image/jpeg", "Accept": kind})
            assert answer.headers["content-type"] == kind
            assert np.array_equal(read(answer.body), streamed)
        async with stub_of(server.port) as stub:
            crops = frame_pb2.CropList(
                crops=[image_pb2.Crop(encoded=image_pb2.EncodedImage(data=data)) for data in (CROP, OTHER)]
            )
            options = session_pb2.EmbedOptions(camera_id="c")
            answered = await stub.Embed(service_pb2.EmbedRequest(options=options, frame=frame_pb2.Frame(crops=crops)))
        called = np.frombuffer(answered.result.blocks[0].data, "<f4").reshape(2, -1)
        body, headers = form(CROP, OTHER)
        boxes = (await http.ask("POST", "/embed", body, headers)).json["boxes"]
        assert np.array_equal(numbers([one["embedding"] for one in boxes]), called)


async def test_each_box_has_its_outcome_and_rows_stay_in_order() -> None:
    """A box without a vector is a row of NaN for those who take bytes."""
    first = '{"x1": 10, "y1": 10, "x2": 60, "y2": 120, "score": 0.9}'
    asked = f"[{first}, [900, 900, 950, 990], [5, 5, 1, 1], [0, 0, 4, 4]]"
    async with http_serving(min_box_px=8) as server, http_to(server) as http:
        body, headers = form(JPEG, boxes=asked)
        found = (await http.ask("POST", "/embed", body, headers)).json
        outcomes = [one["outcome"] for one in found["boxes"]]
        assert outcomes == ["embedded", "outside_frame", "invalid_box", "too_small"]
        assert [("embedding" in one) for one in found["boxes"]] == [True, False, False, False]
        answer = await http.ask("POST", "/embed", body, headers | {"Accept": "application/x-npy"})
        rows = np.load(io.BytesIO(answer.body))
        assert np.isnan(rows).all(axis=1).tolist() == [False, True, True, True]
        assert np.array_equal(rows[0], numbers(found["boxes"][0]["embedding"]))


async def test_of_several_files_a_bad_one_harms_no_other() -> None:
    """It has its outcome."""
    async with http_serving() as server, http_to(server) as http:
        body, headers = form(CROP, b"no picture", OTHER)
        found = (await http.ask("POST", "/embed", body, headers)).json
        assert [one["outcome"] for one in found["boxes"]] == ["embedded", "invalid_image", "embedded"]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"model": "nobody"}, 404, "unknown model 'nobody'"),
        ({"expected_space_id": "other"}, 409, "other"),
        ({"latency_budget_ms": "0"}, 400, "latency_budget_ms is 0"),
        ({"latency_budget_ms": "soon"}, 400, "must be a whole number"),
        ({"priority": "urgent"}, 400, "must be one of low, normal, high"),
        ({"as_base64": "maybe"}, 400, "must be true or false"),
        ({"boxs": "[]"}, 400, "unknown field 'boxs'"),
        ({"boxes": "["}, 400, "boxes is not JSON"),
        ({"boxes": "7"}, 400, "boxes must be a list"),
        ({"boxes": "[[1, 2, 3]]"}, 400, "boxes[0] is no box"),
        ({"boxes": '[[1, 2, 3, "4"]]'}, 400, "boxes[0].y2 is not a number"),
        ({"boxes": '[{"x1": 1, "y1": 2, "x2": 3}]'}, 400, "boxes[0].y2 is not a number"),
        ({"boxes": '[{"x1": 1, "y1": 2, "x2": 3, "y2": 4, "id": 1}]'}, 400, "boxes[0] has 'id'"),
        ({"boxes": '[{"x1": 1, "y1": 2, "x2": 3, "y2": 4, "class_id": -1}]'}, 400, "boxes[0].class_id must be"),
        ({"camera_id": ""}, 400, "camera_id has 0 bytes"),
    ],
)
async def test_what_cannot_be_done_is_said(fields: Mapping[str, str], status: int, said: str) -> None:
    """With the field and what it may be, as a field of the form and in the query."""
    async with http_serving() as server, http_to(server) as http:
        body, headers = form(JPEG, **fields)
        answer = await http.ask("POST", "/embed", body, headers)
        assert (answer.status, said in answer.detail) == (status, True), answer.body
        assert (await http.ask("POST", "/embed", *form(JPEG))).status == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (*form(), 400, "the form has no file"),
        (*form(b"words"), 400, "not a picture"),
        (*form(b""), 400, "the image is empty"),
        (*form(CROP, CROP, boxes="[]"), 400, "several files came"),
        (b"x", {"Content-Type": "text/plain"}, 400, "Content-Type is text/plain"),
        (b"x", {}, 400, "Content-Type is missing"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "names no boundary"),
        (b"x", {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, 400, "no multipart form"),
        (form(CROP)[0][:-8], form(CROP)[1], 400, "its last boundary is missing"),
        (JPEG, {"Content-Type": "image/jpeg", "Accept": "text/html"}, 400, "Accept names nothing"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(
    body: bytes, headers: Mapping[str, str], status: int, said: str
) -> None:
    """And the connection is good for the next one."""
    async with http_serving() as server, http_to(server) as http:
        answer = await http.ask("POST", "/embed", body, headers)
        assert (answer.status, said in answer.detail) == (status, True), answer.body
        assert (await http.ask("POST", "/embed", *form(JPEG))).status == 200


async def test_a_form_of_a_million_parts_ends_at_the_bound() -> None:
    """As does one with headers without end, and one with too many files."""
    async with http_serving(max_boxes_per_frame=4) as server, http_to(server) as http:
        part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".encode()
        answer = await http.ask("POST", "/embed", part * 20_000, form()[1])
        assert (answer.status, "more than 64 fields" in answer.detail) == (400, True)
        answer = await http.ask("POST", "/embed", *form(CROP, model="x" * 2**20))
        assert (answer.status, "bytes beside its files" in answer.detail) == (400, True)
        answer = await http.ask("POST", "/embed", f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 5000, form()[1])
        assert (answer.status, "no multipart form" in answer.detail) == (400, True)
        answer = await http.ask("POST", "/embed", *form(*[CROP] * 5))
        assert (answer.status, "(max_boxes_per_frame)" in answer.detail) == (400, True)


async def test_a_picture_that_is_too_small_has_no_vector() -> None:
    """Of a call with one picture that is the answer: a status of its own, with the outcome."""
    async with http_serving(min_box_px=8) as server, http_to(server) as http:
        answer = await http.ask("POST", "/embed", *form(encode(picture(3, 3), ".png")))
        assert (answer.status, answer.json["reason"]) == (422, "too_small")


async def test_a_full_queue_says_when_to_come_back() -> None:
    """In the header, in whole seconds, and exactly in the body."""
    gate = Gate()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=gate.wait))
    async with http_serving(engine, max_queue_boxes=200, max_boxes_per_frame=100) as server:
        boxes = json.dumps([[0, 0, 300, 200]] * 100)
        answers: list[Answer] = []

        async def ask() -> None:
            async with http_to(server) as http:
                answers.append(await http.ask("POST", "/embed", *form(JPEG, boxes=boxes)))

        asking = [asyncio.create_task(ask()) for _ in range(8)]
        await until(lambda: answers)
        gate.opened.set()
        await asyncio.gather(*asking)
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        for answer in refused:
            assert answer.json["reason"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= answer.json["retry_after_ms"] / 1000


async def test_large_answers_and_many_headers_are_worked_on_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop does neither."""
    done: list[str] = []
    async with http_serving(FakeEngine(fake_spec(dim=512))) as server, http_to(server) as http:
        apart = server.parts.entrance.apart
        do = apart.do

        async def watched(source: str, work: object) -> object:
            done.append(getattr(getattr(work, "func", None), "__name__", ""))
            return await do(source, work)  # type: ignore[arg-type]

        monkeypatch.setattr(apart, "do", watched)
        assert (await http.ask("POST", "/embed", *form(*[CROP] * 65))).status == 200
        assert done == ["_read"]
        boxes = json.dumps([[10, 10, 60, 120]] * 1000)
        assert (await http.ask("POST", "/embed", *form(JPEG, boxes=boxes))).status == 200
        assert done == ["_read", "rendered"]


@pytest.mark.parametrize(
    "header",
    [
        'form-data; name="file"',
        "form-data;name=file",
        'form-data; filename="a;name=\\"x\\".png"; name="file"',
        "FORM-DATA ; NAME = \"file\" ; filename*=UTF-8''x",
        "attachment; name=file; size=3",
    ],
)
async def test_names_of_parts_are_read_as_clients_write_them(header: str) -> None:
    """With quotes or without, in any order."""
    async with http_serving() as server, http_to(server) as http:
        body = f"--{BOUNDARY}\r\nContent-Disposition: {header}\r\n\r\n".encode() + CROP + f"\r\n--{BOUNDARY}--".encode()
        headers = {"Content-Type": f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"'}
        assert (await http.ask("POST", "/embed", body, headers)).status == 200


@pytest.mark.parametrize("header", ["form-data", 'form-data; name="', 'form-data; name=""', "form-data; names=file"])
async def test_a_part_without_a_name_is_refused(header: str) -> None:
    """With the header that it needs."""
    async with http_serving() as server, http_to(server) as http:
        body = f"--{BOUNDARY}\r\nContent-Disposition: {header}\r\n\r\n\r\n--{BOUNDARY}--".encode()
        answer = await http.ask("POST", "/embed", body, form()[1])
        assert (answer.status, "has no name" in answer.detail) == (400, True)


async def test_more_boxes_than_a_frame_may_have_are_not_read() -> None:
    """They are counted first: a hundred thousand would take a second of the event loop."""
    async with http_serving(max_boxes_per_frame=4) as server, http_to(server) as http:
        answer = await http.ask("POST", "/embed", *form(JPEG, boxes="[" + "0," * 99_999 + "0]"))
        assert (answer.status, "the limit is 4 (max_boxes_per_frame)" in answer.detail) == (400, True)
