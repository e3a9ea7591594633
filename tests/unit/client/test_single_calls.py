"""Single calls of the asyncio client, against a real socket."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    BoxFilter,
    Crops,
    EmbeddingDtype,
    FrameTooLarge,
    Health,
    InvalidRequest,
    ModelChoice,
    ModelNotFound,
    Priority,
    ProtocolFault,
    SpaceMismatch,
)
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2
from tests.unit.client.samples import BOXES, IMAGE
from tests.unit.client.scripted_server import DIM, OTHER_SPACE, SPACE, ScriptedServer, block, f32, model, vector


async def test_every_box_gets_its_own_vector(server: ScriptedServer) -> None:
    """The server stores rows back to front; the answer is in the order of the boxes."""
    async with AsyncReidClient(server.target) as client:
        answer = await client.embed(IMAGE, BOXES, frame_id=9)
    np.testing.assert_array_equal(answer.embeddings, [[9, 0, 1, 4], [9, 1, 5, 8]])
    assert answer.valid.all()
    assert answer.frame_id == 9
    assert (answer.space_id, answer.model.name) == (SPACE, "scripted")
    assert answer.timing.queue_s == pytest.approx(0.002)
    assert answer.timing.inference_s == pytest.approx(0.004)
    assert answer.timing.reply_s == pytest.approx(0.001)
    assert answer.timing.round_trip_s is not None
    assert server.model_requests == []


async def test_options_are_sent_as_given(server: ScriptedServer) -> None:
    """Everything that a client can be told."""
    async with AsyncReidClient(
        server.target,
        camera_id="door",
        model="scripted",
        expected_space_id=SPACE,
        priority=Priority.HIGH,
        latency_budget_s=0.25,
        dtype=EmbeddingDtype.FLOAT16,
        box_filter=BoxFilter(min_height=30, class_ids=(0, 2)),
    ) as client:
        await client.embed(b"file", BOXES, class_ids=[0, 1], age_s=0.5, source_size=(60, 40))
    request = server.embedded[0]
    assert request.options == session_pb2.EmbedOptions(
        camera_id="door",
        models=[session_pb2.ModelChoice(name="scripted", expected_space_id=SPACE)],
        priority=session_pb2.PRIORITY_HIGH,
        latency_budget_ms=250,
        dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16,
        box_filter=session_pb2.BoxFilter(min_height=30, class_ids=[0, 2]),
    )
    assert request.frame.age_ns >= 500_000_000
    assert request.frame.source_size.width == 60
    assert [box.class_id for box in request.frame.boxes] == [0, 1]


async def test_no_boxes_ask_for_the_dimension_once_and_for_nothing_else(server: ScriptedServer) -> None:
    """(0, D) without sending the image; the second time without any call."""
    async with AsyncReidClient(server.target) as client:
        for _ in range(2):
            answer = await client.embed(IMAGE, [])
            assert answer.embeddings.shape == (0, DIM)
            assert (answer.space_id, answer.local, answer.error) == (SPACE, True, None)
        assert (await client.embed(Crops([]))).embeddings.shape == (0, DIM)
    assert server.embedded == []
    assert server.model_requests == [""]


async def test_no_boxes_after_an_answer_ask_nothing(server: ScriptedServer) -> None:
    """The answer said which model it came from."""
    async with AsyncReidClient(server.target) as client:
        await client.embed(IMAGE, BOXES)
        assert (await client.embed(IMAGE, np.zeros((0, 4)))).embeddings.shape == (0, DIM)
    assert server.model_requests == []


async def test_an_answer_without_any_vector_still_has_its_width(server: ScriptedServer) -> None:
    """All boxes outside the frame: no block says how wide a row would have been."""

    async def outside(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
        del request, context
        boxes = [frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_OUTSIDE_FRAME)] * 2
        return service_pb2.EmbedResponse(result=frame_pb2.FrameResult(boxes=boxes))

    server.on_embed = outside
    async with AsyncReidClient(server.target) as client:
        answer = await client.embed(IMAGE, BOXES)
    assert answer.embeddings.shape == (2, DIM)
    assert not answer.valid.any()


async def test_a_call_takes_time(server: ScriptedServer) -> None:
    """None at all is refused, and nothing is sent."""
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(InvalidRequest, match="timeout_s must be above 0, not 0"):
            await client.embed(IMAGE, BOXES, timeout_s=0)
        with pytest.raises(InvalidRequest, match="age_s must be 0 or more, not -1"):
            await client.embed(IMAGE, BOXES, age_s=-1)
    assert server.embedded == []


async def test_another_space_than_expected_is_refused_also_without_a_call(server: ScriptedServer) -> None:
    """The server would refuse it; with no boxes nobody asks the server."""
    async with AsyncReidClient(server.target, expected_space_id=OTHER_SPACE) as client:
        with pytest.raises(SpaceMismatch, match=f"{SPACE}, expected was {OTHER_SPACE}"):
            await client.embed(IMAGE, [])
        with pytest.raises(SpaceMismatch):
            await client.embed(IMAGE, BOXES)


async def test_classes_go_to_their_models(server: ScriptedServer) -> None:
    """Two choices; each has its own rows, and a box of neither has none."""
    vehicle = f32([[7, 8]])
    server.models |= {"vehicle": model("vehicle", dim=2, space=OTHER_SPACE)}

    async def routed(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
        del context
        assert [(m.name, list(m.class_ids)) for m in request.options.models] == [("", [0]), ("vehicle", [2, 5])]
        boxes = [
            frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_EMBEDDED, block=1, row=0),
            frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_EMBEDDED, block=0, row=0),
            frame_pb2.BoxResult(outcome=frame_pb2.OUTCOME_NO_MODEL),
        ]
        blocks = [block("vehicle", vehicle, space=OTHER_SPACE), block("scripted", vector(0, 0)[None])]
        return service_pb2.EmbedResponse(result=frame_pb2.FrameResult(boxes=boxes, blocks=blocks))

    server.on_embed = routed
    choices = [ModelChoice(class_ids=(0,)), ModelChoice(name="vehicle", class_ids=(2, 5))]
    async with AsyncReidClient(server.target, models=choices) as client:
        answer = await client.embed(IMAGE, [*BOXES, BOXES[0]], class_ids=[0, 5, 9])
        assert [part.model.class_ids for part in answer.blocks] == [(0,), (2, 5)]
        np.testing.assert_array_equal(answer.for_model("vehicle").embeddings, [[0, 0], [7, 8], [0, 0]])
        assert answer.for_model("scripted").valid.tolist() == [True, False, False]
        empty = await client.embed(IMAGE, [])
        assert [part.embeddings.shape for part in empty.blocks] == [(0, DIM), (0, 2)]


@pytest.mark.parametrize("wrong", ["frame_id", "error"])
async def test_an_answer_to_something_else_is_a_fault(server: ScriptedServer, wrong: str) -> None:
    """Another frame's answer, or an error where the call's status should have said it."""

    async def other(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
        del context
        answer = frame_pb2.FrameResult(frame_id=request.frame.frame_id + (wrong == "frame_id"))
        if wrong == "error":
            answer.error.message = "in-band"
        return service_pb2.EmbedResponse(result=answer)

    server.on_embed = other
    async with AsyncReidClient(server.target) as client:
        with pytest.raises(ProtocolFault):
            await client.embed(IMAGE, BOXES)


async def test_large_messages_pass_and_too_large_ones_are_refused_here(server: ScriptedServer) -> None:
    """GRPC's usual 4 MiB would not hold a raw 1080p frame; past our own limit nothing is sent."""
    async with AsyncReidClient(server.target, max_message_bytes=100_000) as client:
        with pytest.raises(FrameTooLarge, match="at most 100000"):
            await client.embed(np.zeros((200, 200, 3), np.uint8), BOXES)
    assert server.embedded == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"camera_id": ""}, "camera_id must be 1 to 128 bytes"),
        ({"camera_id": "ä" * 65}, "camera_id must be 1 to 128 bytes"),
        ({"latency_budget_s": 0}, "latency budget must be 0.001 to 3600 s, not 0"),
        ({"model": "a", "models": [ModelChoice()]}, "not both"),
        ({"timeout_s": -1}, "timeout_s must be above 0, not -1"),
        ({"timeout_s": float("nan")}, "timeout_s must be above 0, not nan"),
        ({"max_message_bytes": -1}, "max_message_bytes must be 1 to 2147483647, not -1"),
        ({"max_message_bytes": 2**31}, "max_message_bytes must be 1 to 2147483647, not 2147483648"),
        ({"models": [ModelChoice(class_ids=(0, -1))]}, "class_ids must lie in 0 to .* not -1"),
        ({"box_filter": BoxFilter(class_ids=(2**32,))}, "class_ids must lie in 0 to .* not 4294967296"),
    ],
)
def test_a_client_says_at_once_what_it_cannot_be(arguments: dict[str, object], complaint: str) -> None:
    """Before anything is opened."""
    with pytest.raises(InvalidRequest, match=complaint):
        AsyncReidClient("localhost:1", **arguments)  # type: ignore[arg-type]


async def test_models_and_info(server: ScriptedServer) -> None:
    """The whole spec and the limits, with words for closed sets, also for one that is newer than we are."""
    async with AsyncReidClient(server.target) as client:
        assert [(m.name, m.dim, m.is_default, m.ready) for m in await client.models()] == [
            ("scripted", DIM, True, True)
        ]
        info = await client.info("scripted")
        assert (info.profile, info.input.resize, info.input.color_order) == ("torchreid", "opencv_bilinear", "rgb")
        assert info.input.crop_rule == "unknown_77"
        assert (info.input.mean, info.input.jpeg_scale) == ((0.5, 0.5, 0.5), 2)
        assert (info.engine.engine, info.limits.max_message_bytes) == ("fake", 1 << 24)
        with pytest.raises(ModelNotFound, match="no model 'lost'"):
            await client.info("lost")


@pytest.mark.parametrize(
    ("said", "health"),
    [
        (b"\x08\x01", Health.SERVING),
        (b"\x08\x02", Health.NOT_SERVING),
        (b"", Health.UNKNOWN),
        (b"\x08\x09", Health.UNKNOWN),
    ],
)
async def test_ping_says_what_health_says(server: ScriptedServer, said: bytes, health: Health) -> None:
    """And how long it took."""
    server.health = said
    async with AsyncReidClient(server.target) as client:
        ping = await client.ping()
    assert ping.health is health
    assert ping.round_trip_s > 0
