"""doubts: boxes that are allowed and look wrong are pointed out, once for each client and session."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import ReidClient, from_ltwh, testing
from reidstream_client.frames.boxes import parse_boxes
from reidstream_client.frames.doubts import BoxDoubts
from reidstream_client.frames.images import Picture
from reidstream_client.frames.payloads import parse_picture

IMAGE = np.zeros((720, 1280, 3), np.uint8)
FILE = cv2.imencode(".jpg", IMAGE)[1].tobytes()
GOOD = [[100, 50, 220, 400], [600, 80, 700, 380]]
UNITS = [[0.1, 0.1, 0.2, 0.5], [0.5, 0.1, 0.6, 1.0]]
LTWH = [[600, 250, 120, 350], [700, 80, 100, 300], [10, 5, 100, 300]]


@pytest.fixture
def client() -> Iterator[ReidClient]:
    with testing.FakeServer() as server, server.client() as client:
        yield client


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "reidstream_client")
    return caplog


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (UNITS, "all boxes lie within 0 to 1, on a picture of 1280 x 720 pixels: .* multiply x by 1280 and y by 720"),
        (LTWH, r"box 0 ends before it begins \(600, 250, 120, 350\): .*from_ltwh\(boxes\)"),
        (from_ltwh([[600, 400, 700, 700]]), r"boxes leave .* \(box 0 is 600, 400, 1300, 1100\): .*from_ltwh"),
        ([[1500, 400, 1900, 1000]], r"\(box 0 is 1500, 400, 1900, 1000\): .*scale them if it was scaled"),
    ],
    ids=["of 0 to 1", "left, top, width, height", "converted twice", "of a larger picture"],
)
@pytest.mark.parametrize("image", [IMAGE, FILE], ids=["array", "file"])
def test_boxes_that_look_wrong_are_pointed_out(
    client: ReidClient, said: pytest.LogCaptureFixture, image: Picture, boxes: npt.ArrayLike, words: str
) -> None:
    """With their numbers, the picture's size, and what to do; they are embedded all the same."""
    client.embed(image, boxes)
    assert [(record.name, record.levelname) for record in said.records] == [("reidstream_client", "WARNING")]
    assert re.search(words, said.messages[0])


@pytest.mark.parametrize(
    "boxes",
    [
        GOOD,
        [],
        [[-40, -30, 90, 200]],  # a tracker's prediction at the edge
        [[1200, 600, 1400, 800]],
        [*GOOD, [700, 80, 100, 300]],  # one of several
        [[np.nan, 0, np.inf, 1]],
    ],
    ids=["good ones", "none", "over the edge", "over the other edge", "one of several", "not finite"],
)
def test_other_boxes_are_not_doubted(client: ReidClient, said: pytest.LogCaptureFixture, boxes: npt.ArrayLike) -> None:
    """Trackers predict boxes that leave the picture, and single boxes may be broken."""
    client.embed(IMAGE, boxes)
    client.embed(b"a file of unknown size", UNITS)
    client.embed(np.zeros((16, 16, 3), np.uint8), UNITS)
    assert said.messages == []


def test_it_is_said_once_for_each_client_and_session(client: ReidClient, said: pytest.LogCaptureFixture) -> None:
    """A camera would say it for every frame."""
    for _ in range(3):
        client.embed(IMAGE, UNITS)
    assert len(said.messages) == 1
    for open_session in (client.stream, client.resuming_stream):
        said.clear()
        with open_session() as session:
            for _ in range(3):
                session.send(IMAGE, UNITS)
            session.finish()
            assert len(list(session)) == 3
        assert len(said.messages) == 1


def test_only_the_first_frames_with_boxes_are_looked_at(said: pytest.LogCaptureFixture) -> None:
    """After that it costs nothing."""
    doubts = BoxDoubts()
    picture = parse_picture(IMAGE)
    for _ in range(20):
        doubts.look(parse_boxes([]), picture)
        doubts.look(parse_boxes(GOOD), picture)
    doubts.look(parse_boxes(UNITS), picture)
    assert said.messages == []
