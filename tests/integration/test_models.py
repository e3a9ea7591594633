"""Several models in one server: by name, by class, sharing the staged frame."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from reidstream_engines.fake import FakeEngine, fake_embedding, fake_spec
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from tests.support.harness import JPEG, box, frame, opening, serving, stream_to, stub_of

PERSON, VEHICLE, ANIMAL = 0, 2, 7
DIMS = {"person": 32, "vehicle": 48}
COORDINATES = [(10, 10, 60, 120), (100, 20, 160, 200), (30, 40, 90, 99), (5, 5, 300, 200)]


def engines() -> tuple[FakeEngine, FakeEngine]:
    return FakeEngine(fake_spec("person", DIMS["person"])), FakeEngine(fake_spec("vehicle", DIMS["vehicle"]))


def classed(classes: list[int | None]) -> list[image_pb2.Box]:
    """The four boxes, with classes."""
    boxes = [box(*corners) for corners in COORDINATES]
    for item, class_id in zip(boxes, classes, strict=True):
        if class_id is not None:
            item.class_id = class_id
    return boxes


async def test_boxes_go_to_the_model_of_their_class_and_the_frame_is_staged_once() -> None:
    """Two blocks, each with its own dim and space; every row is that box's vector by that model."""
    choices = [
        session_pb2.ModelChoice(name="vehicle", class_ids=[VEHICLE]),
        session_pb2.ModelChoice(name="person", class_ids=[PERSON]),
    ]
    async with serving(*engines()) as server, stream_to(server) as stream:
        opened = await stream.open(models=choices)
        await stream.call.write(frame(1, boxes=classed([PERSON, VEHICLE, ANIMAL, PERSON])))
        result = await stream.result()
    assert [(model.name, model.dim) for model in opened.models] == [("vehicle", 48), ("person", 32)]
    embedded, unrouted = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_NO_MODEL
    assert [item.outcome for item in result.boxes] == [embedded, embedded, unrouted, embedded]
    models = [result.blocks[item.block].model if item.HasField("row") else None for item in result.boxes]
    assert models == ["person", "vehicle", None, "person"]
    image = parse_encoded(JPEG)
    for item, (x1, y1, x2, y2) in zip(result.boxes, COORDINATES, strict=True):
        if item.HasField("row"):
            block = result.blocks[item.block]
            rows = np.frombuffer(block.data, "<f4").reshape(block.count, block.dim)
            expected = fake_embedding(image, PixelBox(x1=x1, y1=y1, x2=x2, y2=y2), block.dim)
            np.testing.assert_array_equal(rows[item.row], expected)
    assert {block.space_id for block in result.blocks} == {fake_spec("", dim).space_id for dim in DIMS.values()}


async def test_a_choice_without_classes_takes_the_others() -> None:
    """Boxes of other classes, and boxes without one."""
    choices = [session_pb2.ModelChoice(name="vehicle", class_ids=[VEHICLE]), session_pb2.ModelChoice(name="person")]
    async with serving(*engines()) as server, stream_to(server) as stream:
        await stream.open(models=choices)
        await stream.call.write(frame(1, boxes=classed([VEHICLE, None, ANIMAL, VEHICLE])))
        result = await stream.result()
    names = [result.blocks[item.block].model for item in result.boxes]
    assert names == ["vehicle", "person", "person", "vehicle"]


async def test_the_first_model_is_the_default() -> None:
    """For sessions that name none, and in the list."""
    async with serving(*engines()) as server, stub_of(server.port) as stub:
        listed = (await stub.ListModels(service_pb2.ListModelsRequest())).models
        details = await stub.GetModel(service_pb2.GetModelRequest())
        request = service_pb2.EmbedRequest(options=session_pb2.EmbedOptions(camera_id="c"), frame=frame(1).frame)
        answer = await stub.Embed(request)
    assert [(model.name, model.is_default, model.ready) for model in listed] == [
        ("person", True, True),
        ("vehicle", False, True),
    ]
    assert details.model.model.name == "person"
    assert details.limits.max_boxes_per_frame > 0
    assert [block.model for block in answer.result.blocks] == ["person"]


@pytest.mark.parametrize(
    "choices",
    [
        [session_pb2.ModelChoice(name="person"), session_pb2.ModelChoice(name="vehicle")],
        [
            session_pb2.ModelChoice(name="person", class_ids=[1]),
            session_pb2.ModelChoice(name="vehicle", class_ids=[2, 1]),
        ],
    ],
)
async def test_ambiguous_choices_are_refused(choices: list[session_pb2.ModelChoice]) -> None:
    """Two that take the rest, or a class that is named twice."""
    async with serving(*engines()) as server, stream_to(server) as stream:
        await stream.call.write(opening(models=choices))
        status, details = await stream.refusal()
    assert (status, details.startswith("models:")) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_filters_leave_boxes_alone() -> None:
    """By size in source pixels, by score and by class; a filtered box is not embedded."""
    wanted = session_pb2.BoxFilter(min_height=300, min_score=0.5)
    boxes = classed([None] * 4)
    boxes[3].score = 0.4
    boxes[1].score = 0.9
    message = frame(1, boxes=boxes)
    message.frame.source_size.CopyFrom(image_pb2.ImageSize(width=640, height=480))  # sent at half its size
    async with serving(*engines()) as server, stream_to(server) as stream:
        await stream.open(box_filter=wanted)
        await stream.call.write(message)
        result = await stream.result()
    embedded, filtered = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_FILTERED
    assert [item.outcome for item in result.boxes] == [filtered, embedded, filtered, filtered]
