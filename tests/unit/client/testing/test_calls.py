"""Single calls to a fake server, and what it records. Nothing but the client is imported, as in its users' tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import (
    AsyncReidClient,
    BoxFilter,
    ClientOptions,
    Crops,
    EmbeddingDtype,
    Health,
    InvalidRequest,
    ModelChoice,
    ModelNotFound,
    Nv12,
    Outcome,
    Priority,
    ReidClient,
    ServerFault,
)
from reidstream_client.testing import FakeServer, ReceivedBox, ReceivedFrame

FRAME = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
BOXES = [[1, 2, 30, 39], [20, 10, 50, 35]]
BOX = [[1, 2, 30, 39]]


class Door:
    """Remembers vectors, and says whether it has seen one before."""

    def __init__(self, client: ReidClient) -> None:
        self._client = client
        self._seen: list[npt.NDArray[np.float32]] = []

    def familiar(self, frames: Iterable[tuple[npt.NDArray[np.uint8], npt.ArrayLike]]) -> list[bool]:
        """For each box that has a vector, whether one like it came earlier."""
        said = []
        for answer in self._client.embed_many(frames):
            for vector in answer.embeddings[answer.valid]:
                said.append(any(float(vector @ seen) > 0.9 for seen in self._seen))
                self._seen.append(vector)
        return said


def make_door(**options: object) -> ReidClient:
    """A program that makes its own client."""
    return ReidClient("gpu-box:50051", camera_id="door", **options)  # type: ignore[arg-type]


def test_a_program_that_is_given_a_client() -> None:
    """The same picture and box have the same vector, another box has another one."""
    with FakeServer() as server, server.client() as client:
        assert Door(client).familiar([(FRAME, BOX), (FRAME, BOXES[1:]), (FRAME, BOX)]) == [False, False, True]
    assert [frame.frame_id for frame in server.frames] == [0, 1, 2]


def test_a_program_that_makes_its_own_client() -> None:
    """It passes options on; its target stays what it is."""
    with FakeServer() as server, make_door(connect=server.connect) as client:
        assert client.target == "gpu-box:50051"
        assert client.embed(FRAME, BOX).valid.all()
    assert server.frames[0].options.camera_id == "door"


def test_vectors_have_length_one_and_a_space() -> None:
    """As a server's; none is like another."""
    with FakeServer(dim=5) as server, server.client() as client:
        answer = client.embed(FRAME, BOXES, frame_id=7)
        assert answer.frame_id == 7
        assert answer.embeddings.shape == (2, 5)
        np.testing.assert_allclose(np.linalg.norm(answer.embeddings, axis=1), 1, rtol=1e-6)
        assert abs(float(answer.embeddings[0] @ answer.embeddings[1])) < 0.99
        assert answer.space_id == client.info().model.space_id
        assert client.embed(FRAME, []).embeddings.shape == (0, 5)
        with FakeServer(dim=5) as other, other.client() as again:
            np.testing.assert_array_equal(again.embed(FRAME, BOXES).embeddings, answer.embeddings)


def test_the_test_says_what_a_box_is() -> None:
    """By its class here; a vector of any length, or an outcome."""

    def embed(frame: ReceivedFrame, box: ReceivedBox) -> npt.ArrayLike | Outcome:
        assert frame.frame_id == 3
        return Outcome.FAILED if box.class_id is None else [box.class_id, 0, 3]

    with FakeServer(dim=3, embed=embed) as server, server.client() as client:
        answer = client.embed(FRAME, BOXES, class_ids=[4, 0], frame_id=3)
        np.testing.assert_allclose(answer.embeddings, np.array([[0.8, 0, 0.6], [0, 0, 1]]), rtol=1e-6)
        assert client.embed(FRAME, BOX, frame_id=3).outcomes == (Outcome.FAILED,)


@pytest.mark.parametrize("said", [[1, 2], [0, 0, 0], Outcome.EMBEDDED, Outcome.FRAME_FAILED])
def test_a_mistake_in_the_test_is_raised_where_the_server_ends(said: object) -> None:
    """The program sees a fault of the server, and the test its own mistake."""

    def embed(frame: ReceivedFrame, box: ReceivedBox) -> Any:
        del frame, box
        return said

    with (
        pytest.raises(ValueError, match=r"embed (must return|returned)"),  # from the end of the server's block
        FakeServer(dim=3, embed=embed) as server,
        server.client() as client,
        pytest.raises(ServerFault, match="embed raised ValueError"),
    ):
        client.embed(FRAME, BOX)


def test_models_info_and_ping() -> None:
    """What a program may look at before it starts."""
    with FakeServer(models=["person", "vehicle"], dim=4) as server, server.client() as client:
        assert [(model.name, model.dim, model.is_default) for model in client.models()] == [
            ("person", 4, True),
            ("vehicle", 4, False),
        ]
        assert client.info("vehicle").model.name == "vehicle"
        assert client.info().limits.max_window_frames == 8
        with pytest.raises(ModelNotFound, match="unknown model 'lost'; this server has person, vehicle"):
            client.info("lost")
        assert client.ping().health is Health.SERVING
        server.health = Health.NOT_SERVING
        assert client.ping().health is server.health


def test_everything_that_is_sent_is_recorded() -> None:
    """In the client's own words."""
    options: ClientOptions = {
        "camera_id": "door",
        "models": [ModelChoice(name="fake", class_ids=(1, 2))],
        "priority": Priority.HIGH,
        "latency_budget_s": 2.5,
        "dtype": EmbeddingDtype.FLOAT16,
        "box_filter": BoxFilter(min_height=3.0, class_ids=(1, 2)),
    }
    with FakeServer() as server, server.client(**options) as client:
        answer = client.embed(
            FRAME[:, :50],
            BOXES,
            class_ids=[1, 2],
            scores=[0.5, 0.25],
            track_ids=[7, 8],
            source_size=(500, 400),
            capture_unix_ns=123,
            age_s=0.5,
        )
    assert answer.valid.all()
    (frame,) = server.frames
    assert frame.session is None
    assert frame.image is not None
    assert (frame.image.format, frame.image.width, frame.image.height) == ("bgr", 50, 40)
    np.testing.assert_array_equal(frame.image.pixels(), FRAME[:, :50])
    assert frame.xyxy.tolist() == BOXES
    assert [(box.index, box.class_id, box.score) for box in frame.boxes] == [(0, 1, 0.5), (1, 2, 0.25)]
    assert [box.track_id for box in frame.boxes] == [7, 8]
    assert (frame.source_size, frame.capture_unix_ns) == ((500, 400), 123)
    assert 0.5 <= frame.age_s < 2.5
    said = frame.options
    assert (said.camera_id, said.models, said.priority) == ("door", tuple(options["models"]), Priority.HIGH)
    assert (said.latency_budget_s, said.dtype, said.box_filter) == (2.5, EmbeddingDtype.FLOAT16, options["box_filter"])


def test_pictures_of_every_kind_are_recorded() -> None:
    """Files as they are; arrays and strides as pixels; NV12 as its bytes; crops box by box."""
    gray, wide = FRAME[:, :, 0].copy(), np.zeros((4, 70, 3), np.uint8)[:, :69]
    with FakeServer() as server, server.client() as client:
        for image in (b"a file", gray, wide, Nv12(data=bytes(6), width=2, height=2)):
            client.embed(image, [[0, 0, 2, 2]])
        client.embed(Crops([FRAME, b"a file"], inner_boxes=[[0, 0, 9, 9], [1, 1, 5, 5]]))
    file, second, third, nv12, crops = server.frames
    assert [frame.image.format for frame in server.frames[:4] if frame.image] == ["file", "gray", "bgr", "nv12"]
    assert [image and image.data for image in (file.image, nv12.image)] == [b"a file", bytes(6)]
    assert second.image is not None
    np.testing.assert_array_equal(second.image.pixels(), gray)
    assert third.image is not None
    assert (third.image.stride, third.image.pixels().shape) == (210, (4, 69, 3))
    assert nv12.image is not None
    with pytest.raises(ValueError, match="came as nv12"):
        nv12.image.pixels()
    assert crops.image is None
    assert [(box.is_crop, box.inner_xyxy, box.image.format) for box in crops.boxes] == [
        (True, (0, 0, 9, 9), "bgr"),
        (True, (1, 1, 5, 5), "file"),
    ]
    assert np.isnan(crops.xyxy).all()


def test_boxes_are_judged_as_a_server_judges_them() -> None:
    """By model, rectangle, and filter, in this order."""
    boxes = np.array([[0, 0, 9, 9], [9, 9, 0, 0], [70, 0, 80, 9], [0, 0, 9, 9], [0, 0, 0.2, 9], [0, 0, 9, 2]])
    options: ClientOptions = {
        "models": [ModelChoice(name="person", class_ids=(0,)), ModelChoice(name="vehicle", class_ids=(1, 2))],
        "box_filter": BoxFilter(min_height=3),
    }
    with FakeServer(models=["person", "vehicle"]) as server, server.client(**options) as client:
        answer = client.embed(FRAME, boxes, class_ids=[1, 0, 0, 5, 0, 0])
    assert answer.outcomes == (
        Outcome.EMBEDDED,
        Outcome.INVALID_BOX,
        Outcome.OUTSIDE_FRAME,
        Outcome.NO_MODEL,
        Outcome.TOO_SMALL,
        Outcome.FILTERED,
    )
    assert answer.for_model("vehicle").valid.tolist() == [True] + [False] * 5
    assert not answer.for_model("person").valid.any()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"dim": 0}, "dim must be at least 1, not 0"),
        ({"window_frames": 0}, "window_frames must be at least 1, not 0"),
        ({"models": ()}, "models must name at least one model"),
    ],
)
def test_a_server_that_cannot_be(options: dict[str, object], complaint: str) -> None:
    """Said at once."""
    with pytest.raises(InvalidRequest, match=complaint):
        FakeServer(**options)  # type: ignore[arg-type]


def test_the_two_clients_are_what_they_say() -> None:
    """For programs that ask."""
    with FakeServer() as server, server.client() as client:
        assert type(client) is ReidClient
        assert type(server.async_client()) is AsyncReidClient
